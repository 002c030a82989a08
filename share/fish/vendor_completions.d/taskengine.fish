# fish completion for taskengine

function __taskengine_is
    for command in $argv
        __fish_seen_subcommand_from $command; and return
    end
    return 1
end

complete -c taskengine -s h -l help -d 'show help'
complete -c taskengine -n __fish_use_subcommand -s V -l version -d 'show the version'
complete -c taskengine -n __fish_use_subcommand -f -a run -d 'run a script with workers of its own'
complete -c taskengine -n __fish_use_subcommand -f -a worker -d 'run the tasks of Lua files'
complete -c taskengine -n __fish_use_subcommand -f -a call -d 'send a task'
complete -c taskengine -n __fish_use_subcommand -f -a result -d 'show the result of a task'
complete -c taskengine -n __fish_use_subcommand -f -a status -d 'show queues and workers'
complete -c taskengine -n __fish_use_subcommand -f -a env -d 'print what lets plain Lua find this taskengine'
complete -c taskengine -n __fish_use_subcommand -f -a help -d 'show help'

complete -c taskengine -n '__taskengine_is run worker' -s P -l processes -x -d 'processes that run tasks'
complete -c taskengine -n '__taskengine_is run worker' -s c -l concurrency -x -d 'tasks at a time in each'
complete -c taskengine -n '__taskengine_is run worker' -s l -l level -x -a 'debug info warn error off' -d 'log nothing below'
complete -c taskengine -n '__taskengine_is run worker call result status' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__taskengine_is run worker call result status' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__taskengine_is run' -s q -l quiet -d 'show no progress'
complete -c taskengine -n '__taskengine_is run' -l detach -d 'leave what has not started'
complete -c taskengine -n '__taskengine_is worker' -s Q -l queues -x -d 'queues to serve'
complete -c taskengine -n '__taskengine_is worker' -s n -l name -x -d 'what others see of it'
complete -c taskengine -n '__taskengine_is worker' -l grace -x -d 'how long tasks may go on when it stops'
complete -c taskengine -n '__taskengine_is call result' -s w -l wait -d 'wait for the result'
complete -c taskengine -n '__taskengine_is call result' -l timeout -x -d 'wait no longer'
complete -c taskengine -n '__taskengine_is call' -l countdown -x -d 'run it that much later'
complete -c taskengine -n '__taskengine_is call' -l expires -x -d 'do not run it later'
complete -c taskengine -n '__taskengine_is call' -s Q -l queue -x -d 'where to put it'
complete -c taskengine -n '__taskengine_is call' -l priority -x -a '(seq 0 9)' -d '9 is the most urgent'
complete -c taskengine -n '__taskengine_is call' -l id -x -d 'an id of your own'
complete -c taskengine -n '__taskengine_is call result status' -s f -l file -r -d 'broker and namespace of the app in this file'
complete -c taskengine -n '__taskengine_is call result status' -l json -d 'print JSON'
