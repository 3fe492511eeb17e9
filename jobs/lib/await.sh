# shellcheck shell=bash
# await PID: wait for a child to end, through any number of trapped signals; returns its status.
await() {
    local status=0 again=0
    while :; do
        status=0
        wait "$1" || status=$?
        kill -0 "$1" 2>/dev/null || break # ended; else a signal only interrupted the wait
    done
    # Where the child ended while a signal was handled, the shell still knows its status.
    wait "$1" 2>/dev/null || again=$?
    [ "$again" = 127 ] || [ "$status" -le 128 ] || status=$again
    return "$status"
}
