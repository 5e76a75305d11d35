# bash completion for omniagent.
#
# The program is given the line as it stands and answers with what readline has to insert, already quoted; nothing
# that comes from it is evaluated, split or globbed here. Works with and without the bash-completion package.

_omniagent() {
    local line tab=$'\t'
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            "${tab}directories"*) compopt -o dirnames 2>/dev/null ;;
            "$tab"*) compopt -o default 2>/dev/null ;;
            *) COMPREPLY+=("${line%%"$tab"*}") ;;
        esac
    done < <(command omniagent __complete --bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null </dev/null)
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)); then
    complete -o nosort -F _omniagent omniagent
elif ((BASH_VERSINFO[0] >= 4)); then
    complete -F _omniagent omniagent
else
    # Without compopt the program cannot ask for file names, so they come whenever nothing else fits.
    complete -o default -F _omniagent omniagent
fi
