# Completion of the Kafka tools in fish: options and commands as the tools have them, topics from the cluster that was named.

function __barnabas_topics # WORDS...: prints topics, if the words say where to ask
    set -l topics kafka-topics
    command -q $topics; or set topics kafka-topics.sh
    for i in (seq (math (count $argv) - 1))
        switch $argv[$i]
            case --bootstrap-server --broker-list --zookeeper
                set how (string replace -- --broker-list --bootstrap-server $argv[$i])
                timeout 2 $topics $how $argv[(math $i + 1)] --list 2>/dev/null
                return
        end
    end
end

function __barnabas_entries # TOOL WORDS...: NAME, VALUE and HELP with tabs in between, of the command if one is among the words
    set tool $argv[1]
    set entries ($tool --complete 2>/dev/null </dev/null | string match -r '^.*\t.*\t.*$')
    for word in $argv[2..-1]
        if string match -qr '^[a-z]' -- $word; and string match -qr "^"(string escape --style=regex -- $word)'\t\t' -- $entries
            set entries ($tool --complete $word 2>/dev/null | string match -r '^.*\t.*\t.*$')
            break
        end
    end
    printf '%s\n' $entries
end

function __barnabas_complete
    set said (commandline -opc)
    set found none
    set described
    for entry in (__barnabas_entries $said)
        set fields (string split \t -- $entry)
        test "$fields[1]" = "$said[-1]"; and set found "$fields[2]"
        set -a described $fields[1]\t$fields[3]
    end
    switch "$found"
        case topic
            __barnabas_topics $said
        case file
            __fish_complete_path (commandline -ct)
        case any
        case none ''
            printf '%s\n' $described
        case '*'
            string split ' ' -- $found
    end
end

for name in (barnabas-tool --help 2>/dev/null | string replace -rf '^  (\S+).*' '$1.sh')
    complete -c $name -f -a '(__barnabas_complete)'
end
