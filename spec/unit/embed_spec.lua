local function run(command)
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  return pipe:read("a")
end

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

-- Prints each file: its name, its size, whether a NUL follows, its bytes.
local printer = [[
#include <stdio.h>
#include "assets.h"
int main(void) {
  for (const te_embedded_file *f = te_embedded_files; f->name; f++) {
    printf("%s %zu %d\n", f->name, f->size, f->data[f->size]);
    fwrite(f->data, 1, f->size, stdout);
  }
  return te_embedded_file_find("b/all.lua") != te_embedded_files + 1 ||
         te_embedded_file_find("b") != NULL;
}
]]

describe("tools/embed.lua", function()
  local folder

  setup(function()
    folder = run("mktemp -d"):gsub("\n", "")
  end)

  teardown(function()
    os.execute(("rm -rf '%s'"):format(folder))
  end)

  it("carries every byte into the program, sorted by name", function()
    local bytes = {}
    for first = 0, 255 do
      for _, second in ipairs({ 0, 9, 10, 34, 48, 63, 92, 255 }) do
        bytes[#bytes + 1] = string.char(first, second)
      end
    end
    local all = table.concat(bytes)
    os.execute(("mkdir -p '%s/root/b'"):format(folder))
    write(folder .. "/root/b/all.lua", all)
    write(folder .. "/root/a.lua", "")
    write(folder .. "/printer.c", printer)
    local output = run(([[
      cd '%s' && lua5.4 %s/tools/embed.lua root root/b/all.lua root/a.lua \
        >embedded.c && cc -std=c11 -Wall -Wextra -Werror -iquote %s/engine \
        -o printer printer.c embedded.c %s/engine/assets.c && ./printer
    ]]):format(folder, os.getenv("PWD"), os.getenv("PWD"), os.getenv("PWD")))
    assert.equals(("a.lua 0 0\nb/all.lua %d 0\n%s"):format(#all, all), output)
  end)

  it("refuses a file that is not below the root", function()
    assert.matches("is not below", run("lua5.4 tools/embed.lua lua Makefile"))
  end)
end)
