// One worker process.

const { Worker } = require("bullmq");
const { QUEUE, connection } = require("./options");

const CONCURRENCY = Number(process.env.BENCH_CONCURRENCY);

const jobs = {
  noop: async () => {},
  add: async ({ x, y }) => x + y,
};

const worker = new Worker(QUEUE, (job) => jobs[job.name](job.data), {
  connection,
  concurrency: CONCURRENCY,
});
worker.on("error", console.error);
process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
