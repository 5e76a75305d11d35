# fish completion for omniagent. What the program answers is data: fish neither evaluates nor expands it.

function __omniagent_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l plain (string unescape -- $current)
    or set plain (string unescape -- "$current'")
    or set plain (string unescape -- "$current\"")
    or set plain ''
    for line in (command omniagent __complete $before[2..-1] "$plain" 2>/dev/null </dev/null)
        set -l parts (string split -m 2 \t -- $line)
        if test -n "$parts[1]"
            printf '%s\n' $line
            continue
        end
        set -l lead $parts[3]
        set -l typed (string sub -s (math (string length -- "$lead") + 1) -- "$plain")
        set -l found
        if test "$parts[2]" = directories
            set found (__fish_complete_directories "$typed" '')
        else
            set found (__fish_complete_path "$typed")
        end
        for path in $found
            printf '%s%s\n' "$lead" $path
        end
    end
end

complete -c omniagent -f -k -a '(__omniagent_complete)'
