# The jobs, for worker and client.

require "sidekiq"

# redis-rb would warn of what this Sidekiq still does, at every enqueue.
Redis.silence_deprecations = true
redis = { url: "unix://#{ENV.fetch("BENCH_SOCKET")}", driver: :hiredis }
Sidekiq.configure_server { |config| config.redis = redis }
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.logger.level = Logger::WARN

class Noop
  include Sidekiq::Worker

  def perform; end
end

class Add
  include Sidekiq::Worker

  def perform(x, y)
    x + y
  end
end

# Sidekiq keeps no results: what answers a caller is a list.
class Answer
  include Sidekiq::Worker

  def perform(x, y)
    Sidekiq.redis { |connection| connection.lpush("answers", x + y) }
  end
end
