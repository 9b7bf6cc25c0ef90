# For scripts and shells: `. boards.sh`. Works in sh, bash, dash, zsh and busybox.
# shellcheck shell=sh

# take BOARD [WORDS for touch]: takes a board for this shell, or says who has it.
#   take beagle || exit 1
#   take beagle -d '+2 hours'
take() {
    _board=${BOARDLOCK_DIR:-/run/locks}/$1
    shift
    touch "$@" "$_board" 2>/dev/null && return
    if [ -e "$_board" ]; then
        # User, and since when; more of it: cat.
        # shellcheck disable=SC2012 # the name is not looked at
        _since=$(ls -ldc "$_board" | awk '{ print $3 " has it since " $6 " " $7 " " $8 }')
        echo "$_board: $_since" >&2
        sed -n 's/^\(command\|expires\|waiters\) /    &/p' "$_board" >&2
    elif ! [ -d "${_board%/*}" ]; then
        echo "$_board: no such lock directory" >&2
    else
        echo "$_board: cannot be taken; is ${_board%/*} served? (boardlock doctor)" >&2
    fi
    return 1
}

# give BOARD: gives it back. It comes back by itself when this shell ends.
give() { rm -- "${BOARDLOCK_DIR:-/run/locks}/$1"; }

# with_board BOARD COMMAND...: waits for a board, and has it while the command runs.
with_board() {
    _board=${BOARDLOCK_DIR:-/run/locks}/$1
    shift
    flock "$_board" "$@"
}
