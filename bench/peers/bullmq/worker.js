// One worker process.

const { Worker } = require("bullmq");
const { QUEUE, connection } = require("./options");

const CONCURRENCY = Number(process.env.BENCH_CONCURRENCY);

const childrenOf = async (job) => Object.values(await job.getChildrenValues());
const sum = (values) => values.reduce((a, b) => a + b, 0);

const jobs = {
  noop: async () => {},
  add: async ({ x, y }) => x + y,
  square: async ({ x }) => x * x,
  // What depends on others.
  plus: async ({ y }, job) => sum(await childrenOf(job)) + y,
  total: async (_, job) => sum(await childrenOf(job)),
};

const worker = new Worker(QUEUE, (job) => jobs[job.name](job.data, job), {
  connection,
  concurrency: CONCURRENCY,
});
worker.on("error", console.error);
process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
