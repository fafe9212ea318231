# Completion of the Kafka tools in zsh: options and commands as the tools have them, topics from the cluster that was named. It is a
# function for compinit, where #compdef and the names of the tools stand before it; or to be sourced.

_barnabas_topics() { # WORDS...: prints topics, if the words say where to ask
    local i how topics=kafka-topics
    whence -p $topics >/dev/null || topics=kafka-topics.sh
    for ((i = 1; i < $#; i++)); do
        case ${@[i]} in
        (--bootstrap-server|--broker-list|--zookeeper)
            how=${${@[i]}/--broker-list/--bootstrap-server}
            timeout 2 $topics $how ${@[i + 1]} --list 2>/dev/null
            return
            ;;
        esac
    done
}

_barnabas_entries() { # TOOL WORDS...: NAME, VALUE and HELP with tabs in between, of the command if one is among the words
    local tool=$1 word tab=$'\t'
    local -a entries
    shift
    entries=(${(M)${(f)"$($tool --complete 2>/dev/null </dev/null)"}:#*$tab*$tab*})
    for word; do
        if [[ $word = [a-z]* && -n ${(M)entries:#$word$tab$tab*} ]]; then
            entries=(${(M)${(f)"$($tool --complete $word 2>/dev/null)"}:#*$tab*$tab*})
            break
        fi
    done
    print -rl -- $entries
}

_barnabas_tool() {
    local entry found=none
    local -a flags commands fields
    for entry in ${(f)"$(_barnabas_entries $words[1] ${words[2,CURRENT-1]})"}; do
        fields=("${(@ps:\t:)entry}")
        [[ $fields[1] = $words[CURRENT-1] ]] && found=$fields[2]
        if [[ $fields[1] = -* ]]; then
            flags+=("$fields[1]:$fields[3]")
        else
            commands+=("$fields[1]:$fields[3]")
        fi
    done
    case $found in
    (topic) compadd -- ${(f)"$(_barnabas_topics $words)"} ;;
    (file) _files ;;
    (any) _message value ;;
    (none|'') _describe command commands; _describe -o option flags ;;
    (*) compadd -- ${=found} ;;
    esac
}

if [[ $funcstack[1] = _barnabas-tool ]]; then
    _barnabas_tool "$@"
else
    compdef _barnabas_tool ${(f)"$(barnabas-tool --help 2>/dev/null | sed -n 's/^  \([^ ]*\).*/\1.sh/p')"}
fi
