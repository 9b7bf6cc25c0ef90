# Does what it is told, line by line, and tells how it went; see actor.py.
set -o pipefail
exec 2>&1
while IFS= read -r line; do
    echo "+ - 0"
    eval "${line#- }" </dev/null
    printf '\n= - %s\n' $?
done
