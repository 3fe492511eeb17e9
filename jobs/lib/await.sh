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

# ask SIGNAL PID: ask a child to stop. The time signal is lost on one that does not listen yet, so it
# is repeated until the child has ended (so run this in the background); SIGTERM is not, a second one
# means more haste.
ask() {
    if [ "$1" = USR2 ]; then
        trap '' USR2 # which may be sent to all processes of a step
        sleep 0.2 # a child just started is not yet deaf to it, and would die
        while kill -USR2 "$2"; do sleep 1; done 2>/dev/null
    else
        kill "-$1" "$2" 2>/dev/null
    fi
}
