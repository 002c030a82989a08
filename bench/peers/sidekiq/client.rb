# client.rb MEASURE N: prints `name value` lines; times in seconds.

require_relative "jobs"

BATCH = 1000 # what perform_bulk sends at once unless told otherwise

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def timed
  start = now
  yield
  puts "seconds #{now - start}"
end

def bulk(job, args)
  timed do
    args.each_slice(BATCH) do |slice|
      Sidekiq::Client.push_bulk("class" => job, "args" => slice)
    end
  end
end

def round(connection, i)
  start = now
  Answer.perform_async(i, i)
  _, sum = connection.brpop("answers", timeout: 10)
  raise "#{i} + #{i} is not #{sum}" unless sum.to_i == i + i
  puts "round #{now - start}"
end

count = ARGV[1].to_i
Sidekiq.redis(&:ping)
case ARGV[0]
when "noop" then bulk(Noop, Array.new(count) { [] })
when "add" then bulk(Add, Array.new(count) { |i| [i, i] })
when "single" then timed { count.times { |i| Add.perform_async(i, i) } }
when "round"
  Sidekiq.redis do |connection|
    count.times { |i| round(connection, i) }
  end
end
