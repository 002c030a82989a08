# fish completion for taskengine; made by tools/completions.lua

complete -c taskengine -s h -l help -d 'show help'
complete -c taskengine -n __fish_use_subcommand -s V -l version -d 'show the version'
complete -c taskengine -n __fish_use_subcommand -f -a run -d 'run a script\'s main, with workers of its own'
complete -c taskengine -n __fish_use_subcommand -f -a worker -d 'run the tasks of Lua files'
complete -c taskengine -n __fish_use_subcommand -f -a call -d 'send a task, and wait for its result'
complete -c taskengine -n __fish_use_subcommand -f -a result -d 'show the result of a task'
complete -c taskengine -n __fish_use_subcommand -f -a status -d 'show queues, workers and how much waits'
complete -c taskengine -n __fish_use_subcommand -f -a queues -d 'show each queue'
complete -c taskengine -n __fish_use_subcommand -f -a purge -d 'delete the tasks that wait in queues'
complete -c taskengine -n __fish_use_subcommand -f -a control -d 'end tasks, or keep them from beginning'
complete -c taskengine -n __fish_use_subcommand -f -a dead -d 'show tasks that failed for good, and run them again'
complete -c taskengine -n __fish_use_subcommand -f -a flow -d 'show a chain, group, chord or flow, and run again what failed'
complete -c taskengine -n __fish_use_subcommand -f -a doctor -d 'look whether all is well, and say what to do'
complete -c taskengine -n __fish_use_subcommand -f -a env -d 'print what lets plain Lua find this taskengine'
complete -c taskengine -n __fish_use_subcommand -f -a help -d 'show help'
complete -c taskengine -n '__fish_seen_subcommand_from help; and not __fish_seen_subcommand_from run worker call result status queues purge control dead flow doctor env' -a 'run worker call result status queues purge control dead flow doctor env' -f

complete -c taskengine -n '__fish_seen_subcommand_from run' -s P -l processes -x -d 'processes that run tasks'
complete -c taskengine -n '__fish_seen_subcommand_from run' -s c -l concurrency -x -d 'tasks at a time in each process'
complete -c taskengine -n '__fish_seen_subcommand_from run' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from run' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from run' -s q -l quiet -d 'show no progress, and of what tasks say only warnings and errors'
complete -c taskengine -n '__fish_seen_subcommand_from run' -l detach -d 'when interrupted, leave what has not started'
complete -c taskengine -n '__fish_seen_subcommand_from run' -s l -l level -x -a 'debug info warn error off' -d 'log nothing below debug, info, warn or error'
complete -c taskengine -n '__fish_seen_subcommand_from run' -l log-format -x -a 'text json' -d 'text, or json'

complete -c taskengine -n '__fish_seen_subcommand_from worker' -s Q -l queues -x -d 'queues to serve, separated by commas'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -s P -l processes -x -d 'processes that run tasks'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -s c -l concurrency -x -d 'tasks at a time in each process'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -s n -l name -x -d 'what others see of it'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -l grace -x -d 'how long tasks may go on when it stops'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -l time-limit -x -d 'end tasks that run longer, and have no such limit of their own'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -l soft-time-limit -x -d 'raise an error in tasks that run longer, and have no such limit of their own'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -l memory-limit -x -d 'how much memory the Lua code of each process may take, e.g. 64M'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -l max-tasks-per-child -x -d 'replace a process when it has run N tasks'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -l max-memory-per-child -x -d 'replace a process that has come to more memory than that after a task, e.g. 200M'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -s l -l level -x -a 'debug info warn error off' -d 'log nothing below debug, info, warn or error'
complete -c taskengine -n '__fish_seen_subcommand_from worker' -l log-format -x -a 'text json' -d 'text, or json'

complete -c taskengine -n '__fish_seen_subcommand_from call' -f
complete -c taskengine -n '__fish_seen_subcommand_from call' -s w -l wait -d 'wait for the result and print it'
complete -c taskengine -n '__fish_seen_subcommand_from call' -l timeout -x -d 'wait no longer than that'
complete -c taskengine -n '__fish_seen_subcommand_from call' -l countdown -x -d 'run it that much later'
complete -c taskengine -n '__fish_seen_subcommand_from call' -l expires -x -d 'do not run it later than that from now'
complete -c taskengine -n '__fish_seen_subcommand_from call' -s Q -l queue -x -d 'where to put it'
complete -c taskengine -n '__fish_seen_subcommand_from call' -l priority -x -a '0 1 2 3 4 5 6 7 8 9' -d '9 is the most urgent'
complete -c taskengine -n '__fish_seen_subcommand_from call' -l id -x -d 'an id of your own'
complete -c taskengine -n '__fish_seen_subcommand_from call' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from call' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from call' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from call' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from result' -f
complete -c taskengine -n '__fish_seen_subcommand_from result' -s w -l wait -d 'wait for the result and print it'
complete -c taskengine -n '__fish_seen_subcommand_from result' -l timeout -x -d 'wait no longer than that'
complete -c taskengine -n '__fish_seen_subcommand_from result' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from result' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from result' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from result' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from status' -f
complete -c taskengine -n '__fish_seen_subcommand_from status' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from status' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from status' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from status' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from queues' -f
complete -c taskengine -n '__fish_seen_subcommand_from queues' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from queues' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from queues' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from queues' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from purge' -f
complete -c taskengine -n '__fish_seen_subcommand_from purge' -l all -d 'of every queue that was ever used'
complete -c taskengine -n '__fish_seen_subcommand_from purge' -l due -d 'also tasks with a countdown or eta that has not come'
complete -c taskengine -n '__fish_seen_subcommand_from purge' -s y -l yes -d 'do it without asking'
complete -c taskengine -n '__fish_seen_subcommand_from purge' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from purge' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from purge' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from purge' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from control' -f
complete -c taskengine -n '__fish_seen_subcommand_from control; and not __fish_seen_subcommand_from revoke' -a 'revoke'
complete -c taskengine -n '__fish_seen_subcommand_from control' -l terminate -d 'end what still runs a second later, by force'
complete -c taskengine -n '__fish_seen_subcommand_from control' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from control' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from control' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from control' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from dead' -f
complete -c taskengine -n '__fish_seen_subcommand_from dead; and not __fish_seen_subcommand_from list show requeue delete' -a 'list show requeue delete'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l task -x -d 'those of this task'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -s Q -l queue -x -d 'those of this queue'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l kind -x -d 'those whose error is of this kind, such as WorkerLost'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l older -x -d 'that died so long ago or earlier'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l newer -x -d 'that died so long ago or later'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l limit -x -d 'no more than that, the last ones to die'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l all -d 'all of them'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l malformed -d 'what stood in a queue and is no task, instead of tasks'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -s y -l yes -d 'do it without asking'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from dead' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from flow' -f
complete -c taskengine -n '__fish_seen_subcommand_from flow' -l dot -d 'print it for Graphviz'
complete -c taskengine -n '__fish_seen_subcommand_from flow' -l retry-failed -d 'run again what failed, and what did not run because of that'
complete -c taskengine -n '__fish_seen_subcommand_from flow' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from flow' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from flow' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from flow' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from doctor' -f
complete -c taskengine -n '__fish_seen_subcommand_from doctor' -s f -l file -r -d 'take broker and namespace from the app in this Lua file'
complete -c taskengine -n '__fish_seen_subcommand_from doctor' -s b -l broker -x -a 'embedded:// redis:// redis+unix://' -d 'where Redis is'
complete -c taskengine -n '__fish_seen_subcommand_from doctor' -l config -r -d 'a Lua file that returns settings'
complete -c taskengine -n '__fish_seen_subcommand_from doctor' -l json -d 'print JSON'

complete -c taskengine -n '__fish_seen_subcommand_from env' -f
complete -c taskengine -n '__fish_seen_subcommand_from env' -l json -d 'print JSON'
