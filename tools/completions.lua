--- Makes the shells' completions of what the commands take.
--
--    eval "$(build/taskengine env)"; lua5.4 tools/completions.lua
--
-- writes the files below share/; a spec fails when one of them is not what is
-- made here. An option may say what its value is: `words`, or FILE as its
-- name; an operand of that name is a Lua file.

local commands = require("taskengine.cli.commands")

local completions = {}

local GLOBAL <const> = {
  { short = "h", long = "help", help = "show help" },
  { short = "V", long = "version", help = "show the version" },
}

-- The first words of a help text: completions have little room.
local function brief(text)
  return (text:match("^(.-)[:;(]") or text):gsub("%s+$", "")
end

local function options_of(spec)
  local list = {}
  for _, option in ipairs(spec.options or {}) do
    if not option.is_hidden then
      list[#list + 1] = option
    end
  end
  list[#list + 1] = GLOBAL[1]
  return list
end

local function takes_file(spec)
  return (spec.operands or {})[1] == "FILE"
end

-- What the first operand may be, or nil.
local function first_words(spec)
  return spec.operands and spec.operands.words
end

local function each_command(visit)
  for _, entry in ipairs(commands.LIST) do
    visit(entry[1], commands.find(entry[1]).spec, entry[2])
  end
end

-- What bash may ask for behind an option: `-b | --broker`, to the option.
local function valued_options()
  local list, seen = {}, {}
  each_command(function(_, spec)
    for _, option in ipairs(options_of(spec)) do
      local key = "--" .. option.long
      key = option.short and ("-%s | %s"):format(option.short, key) or key
      if not seen[key] and option.value
        and (option.words or option.value == "FILE") then
        seen[key] = true
        list[#list + 1] = { key = key, option = option }
      end
    end
  end)
  table.sort(list, function(a, b)
    return a.key < b.key
  end)
  return list
end

-- Words on lines of at most 80 columns; all but the first are indented.
local function fold(words, first, indent)
  local lines, line = {}, first
  for i, word in ipairs(words) do
    local gap = (i == 1 or line == "") and "" or " "
    if #line + #gap + #word > 78 then
      lines[#lines + 1], line, gap = line, indent, ""
    end
    line = line .. gap .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function names()
  local list = {}
  each_command(function(name)
    list[#list + 1] = name
  end)
  return list
end

local BASH <const> = [==[
# bash completion for taskengine; made by tools/completions.lua

_taskengine() {
  local cur prev command i
  cur=${COMP_WORDS[COMP_CWORD]}
  prev=${COMP_WORDS[COMP_CWORD - 1]}
  command=
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -*) ;;
      *) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  COMPREPLY=()
  # --option=value comes as three words.
  if [[ $cur = = ]]; then
    cur=
  elif [[ $prev = = ]]; then
    prev=${COMP_WORDS[COMP_CWORD - 2]}
  fi

  local -A options=(
%s
  )
%s"
  local -A first=(
%s
    [help]=$commands
  )

  case $prev in
%s
  esac

  if [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands help --help --version" -- \
      "$cur")
  elif [[ $cur = -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "${options[$command]-}" -- "$cur")
  elif [[ $prev = "$command" && -n ${first[$command]-} ]]; then
    mapfile -t COMPREPLY < <(compgen -W "${first[$command]}" -- "$cur")
  elif [[ " %s " = *" $command "* ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$cur"; compgen -f -X '!*.lua' -- \
      "$cur")
  fi
}

complete -F _taskengine taskengine
]==]

local BASH_FILE <const> = [[
    %s)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return ;;]]

local BASH_WORDS <const> = [[
    %s)
      mapfile -t COMPREPLY < <(compgen -W \
        "%s" -- "$cur")
%s      return ;;]]

local function bash_case(entry)
  local words = entry.option.words
  if not words then
    return BASH_FILE:format(entry.key)
  end
  -- A URL goes on.
  local is_begun = words[1]:find("/$")
  return BASH_WORDS:format(entry.key, table.concat(words, " "),
    is_begun and "      compopt -o nospace\n" or "")
end

--- The completion for bash.
-- @treturn string
function completions.bash()
  local options, first, cases, with_file = {}, {}, {}, {}
  each_command(function(name, spec)
    local words = {}
    for i, option in ipairs(options_of(spec)) do
      words[i] = "--" .. option.long
    end
    options[#options + 1] = fold(words, ("    [%s]=\""):format(name),
      "      ") .. '"'
    with_file[#with_file + 1] = takes_file(spec) and name or nil
    first[#first + 1] = first_words(spec) and ('    [%s]="%s"'):format(name,
      table.concat(first_words(spec), " ")) or nil
  end)
  for i, entry in ipairs(valued_options()) do
    cases[i] = bash_case(entry)
  end
  return BASH:format(table.concat(options, "\n"),
    fold(names(), '  local commands="', "    "), table.concat(first, "\n"),
    table.concat(cases, "\n"),
    table.concat(with_file, " "))
end

local function zsh_quote(text)
  return "'" .. text:gsub("[%[%]:]", "\\%0"):gsub("'", "'\\''") .. "'"
end

-- '(-b --broker)'{-b+,--broker=}'[where Redis is]:url:(embedded:// redis://)'
-- takes -bURL, -b URL, --broker=URL and --broker URL.
local function zsh_option(option)
  local long = "--" .. option.long
  local glue, sign = option.value and "+" or "", option.value and "=" or ""
  local head = option.short and ("'(-%s %s)'{-%s%s,%s%s}"):format(option.short,
    long, option.short, glue, long, sign) or long .. sign
  local tail = ""
  if option.words then
    local words = table.concat(option.words, " "):gsub(":", "\\:")
    tail = (":%s:(%s)"):format(option.value, words)
  elseif option.value then
    tail = ":" .. option.value .. (option.value == "FILE" and ":_files" or ": ")
  end
  local text = brief(option.help):gsub("[%[%]]", "\\%0"):gsub("'", "'\\''")
  return ("%s'[%s]%s'"):format(head, text, tail)
end

local function zsh_operands(spec)
  if spec.ends_options then
    return { "'1:FILE:_files -g \"*.lua\"'", "'*:argument:_default'" }
  elseif takes_file(spec) then
    return { "'*:FILE:_files -g \"*.lua\"'" }
  end
  local list, operands = {}, spec.operands or {}
  for i, name in ipairs(operands) do
    local place = i == #operands and (operands.max or 0) > i and "*" or i
    local words = i == 1 and first_words(spec)
    list[i] = ("'%s:%s:%s'"):format(place, name,
      words and ("(%s)"):format(table.concat(words, " ")) or " ")
  end
  return list
end

local ZSH <const> = [==[
#compdef taskengine
# made by tools/completions.lua

local -a commands
commands=(
%s
  'help:show help'
)

_arguments -C \
  '(- *)'{-h,--help}'[show help]' \
  '(- *)'{-V,--version}'[show the version]' \
  '1:command:->command' \
  '*::argument:->arguments' && return

if [[ $state = command ]]; then
  _describe command commands
  return
fi
[[ $state = arguments ]] || return
case $words[1] in
%s
  help)
    _describe command commands ;;
esac
]==]

--- The completion for zsh.
-- @treturn string
function completions.zsh()
  local list, cases = {}, {}
  each_command(function(name, spec, about)
    list[#list + 1] = "  " .. zsh_quote(name):sub(1, -2) .. ":"
      .. zsh_quote(brief(about)):sub(2)
    local words = { "_arguments" }
    for _, option in ipairs(options_of(spec)) do
      words[#words + 1] = zsh_option(option)
    end
    table.move(zsh_operands(spec), 1, #(spec.operands or {}) + 1, #words + 1,
      words)
    cases[#cases + 1] = ("  %s)\n    %s ;;"):format(name,
      table.concat(words, " \\\n      "))
  end)
  return ZSH:format(table.concat(list, "\n"), table.concat(cases, "\n"))
end

local function fish_quote(text)
  return "'" .. text:gsub("['\\]", "\\%0") .. "'"
end

local function fish_option(name, option)
  local words = { "complete -c taskengine -n '__fish_seen_subcommand_from",
    name .. "'" }
  words[#words + 1] = option.short and "-s " .. option.short or nil
  words[#words + 1] = "-l " .. option.long
  if option.words then
    words[#words + 1] = "-x -a "
      .. fish_quote(table.concat(option.words, " "))
  elseif option.value then
    words[#words + 1] = option.value == "FILE" and "-r" or "-x"
  end
  words[#words + 1] = "-d " .. fish_quote(brief(option.help))
  return table.concat(words, " ")
end

local function fish_first(name, words)
  return ("complete -c taskengine -n '__fish_seen_subcommand_from %s; and not"
    .. " __fish_seen_subcommand_from %s' -a '%s'"):format(name, words, words)
end

--- The completion for fish.
-- @treturn string
function completions.fish()
  local lines = { "# fish completion for taskengine; made by"
    .. " tools/completions.lua", "" }
  local function add(...)
    lines[#lines + 1] = table.concat({ ... })
  end
  add("complete -c taskengine -s h -l help -d 'show help'")
  add("complete -c taskengine -n __fish_use_subcommand -s V -l version -d"
    .. " 'show the version'")
  each_command(function(name, _, about)
    add("complete -c taskengine -n __fish_use_subcommand -f -a ", name, " -d ",
      fish_quote(brief(about)))
  end)
  add("complete -c taskengine -n __fish_use_subcommand -f -a help -d"
    .. " 'show help'")
  add(fish_first("help", table.concat(names(), " ")), " -f")
  each_command(function(name, spec)
    add()
    if not takes_file(spec) then
      add("complete -c taskengine -n '__fish_seen_subcommand_from ", name,
        "' -f")
    end
    if first_words(spec) then
      add(fish_first(name, table.concat(first_words(spec), " ")))
    end
    for _, option in ipairs(spec.options or {}) do
      if not option.is_hidden then
        add(fish_option(name, option))
      end
    end
  end)
  return table.concat(lines, "\n") .. "\n"
end

--- Where each goes.
completions.FILES = {
  bash = "share/bash-completion/completions/taskengine",
  zsh = "share/zsh/site-functions/_taskengine",
  fish = "share/fish/vendor_completions.d/taskengine.fish",
}

if (arg or {})[0] and arg[0]:find("completions%.lua$") then
  for shell, path in pairs(completions.FILES) do
    local file <close> = assert(io.open(path, "w"))
    file:write(completions[shell]())
  end
end

return completions
