# What checks have in common. They run in /tmp, with nothing on stdin.
set -u
export LC_ALL=C NO_COLOR=1 LOCKS=/run/locks
passed=0 failures=0
declare -A pid
mkdir -p /tmp/said
chmod 1777 /tmp /tmp/said
cd /tmp || exit

# check WHAT COMMAND...: it must succeed.
check() {
    local what=$1 said
    shift
    # In this shell: it may start something.
    if "$@" >/tmp/check 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failures=$((failures + 1))
        said=$(cat /tmp/check)
        echo "NOT OK  $what"
        printf '        %s\n' "$*" "${said//$'\n'/$'\n'        }"
    fi
}

# Says what came of all, in the last line.
finish() {
    if [ "$failures" = 0 ]; then
        echo "passed: $passed"
    else
        echo "FAILED: $failures of $((passed + failures)); the daemon's log:"
        tail -n 40 /tmp/log
        echo failed
    fi
}

# until COMMAND...: waits until it succeeds, half a minute at most.
until_so() {
    local end=$((SECONDS + 30))
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "waited in vain for: $*"
            return 1
        fi
        sleep 0.02
    done
}

# start NAME [USER]: runs the script that it reads as a process of its own in the lock
# directory. What it says goes to /tmp/said/NAME. `stay` in it waits for ever, without
# a child.
start() {
    local script=/tmp/script-$1
    { echo 'stay() { read -r _ <>/tmp/never; }' && cat; } >"$script"
    [ -p /tmp/never ] || mkfifo -m 0666 /tmp/never
    rm -f "/tmp/said/$1"
    if [ $# -gt 1 ]; then
        setpriv --reuid="$2" --regid="$2" --clear-groups \
            env -C $LOCKS bash "$script" >"/tmp/said/$1" 2>&1 &
    else
        env -C $LOCKS bash "$script" >"/tmp/said/$1" 2>&1 &
    fi
    pid[$1]=$!
}

# said NAME LINE: waits until it has said that.
said() { until_so grep -qx "$2" "/tmp/said/$1" || { cat "/tmp/said/$1"; return 1; }; }

# by NAME [USER] <SCRIPT: runs a script to its end; what it says, and its exit code.
by() {
    start "$@"
    wait "${pid[$1]}"
    local code=$?
    cat "/tmp/said/$1"
    return $code
}

# kills SIGNAL NAME: sends a signal, and reaps.
kills() {
    kill -"$1" "${pid[$2]}"
    wait "${pid[$2]}" 2>/dev/null
    return 0
}

# shows BOARD KEY VALUE: the status of a board.
shows() {
    local is
    is=$(sed -n "s/^$2 //p" "$LOCKS/$1")
    [ "$is" = "$3" ] || { echo "$2 is '$is', not '$3'"; return 1; }
}

# A board of LOCKS is free, or not.
free() { [ ! -e "$LOCKS/$1" ]; }
held() { [ -e "$LOCKS/$1" ]; }

# fails_with WORDS COMMAND...: it fails and says so.
fails_with() {
    local words=$1 text
    shift
    if text=$("$@" 2>&1); then
        echo "it succeeds: $text"
        return 1
    fi
    case $text in
    *"$words"*) ;;
    *)
        echo "it says: $text"
        return 1
        ;;
    esac
}

# logged WORDS: the daemon has said so.
logged() { until_so grep -qF -- "$1" /tmp/log; }

# serve [OPTION...]: starts a daemon and waits until it is ready.
serve() {
    boardlock mount "$@" $LOCKS </dev/null >/tmp/log 2>&1 &
    pid[daemon]=$!
    logged 'ready:'
}

# The processes of the daemon.
daemons() { pgrep -x boardlock; }
