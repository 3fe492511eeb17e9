#!/bin/bash
# One rank: runs the command, passes signals on, and turns "saved and stopped" into success with a
# mark left in $MDGAN_STOP_MARK. Launchers end the other ranks of a step when one fails, and some
# put their own status in its place; a stop on request must suffer neither.
. jobs/lib/await.sh
# A time signal that comes before the command listens must not kill it: it starts deaf to it.
(trap '' USR2 && exec "$@") &
child=$! asked="" ended=""
trap '[ -n "$asked" ] || ask USR2 "$child" & asked=yes' USR2
trap 'ended=TERM; ask TERM "$child"' TERM
status=0
await "$child" || status=$?
if [ "$status" = 75 ]; then
    # The mark says whether somebody ended the job, or only its time did.
    echo "$ended" >>"$MDGAN_STOP_MARK"
    status=0
fi
exit "$status"
