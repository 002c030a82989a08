// client.js MEASURE N: prints `name value` lines; times in seconds.

const { Queue, QueueEvents } = require("bullmq");
const { QUEUE, connection } = require("./options");

const BATCH = 1000;
const [measure, count] = [process.argv[2], Number(process.argv[3])];

const now = () => Number(process.hrtime.bigint()) / 1e9;

async function timed(work) {
  const start = now();
  await work();
  console.log(`seconds ${now() - start}`);
}

async function bulk(queue, name, data) {
  const list = Array.from({ length: count }, (_, i) => ({
    name,
    data: data(i),
  }));
  await timed(async () => {
    for (let at = 0; at < count; at += BATCH) {
      await queue.addBulk(list.slice(at, at + BATCH));
    }
  });
}

async function round(queue) {
  const events = new QueueEvents(QUEUE, { connection });
  await events.waitUntilReady();
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = now();
    const job = await queue.add("add", { x: i, y: i });
    const sum = await job.waitUntilFinished(events);
    times.push(now() - start);
    if (sum !== i + i) throw new Error(`${i} + ${i} is not ${sum}`);
  }
  times.forEach((time) => console.log(`round ${time}`));
  await events.close();
}

const measures = {
  noop: (queue) => bulk(queue, "noop", () => ({})),
  add: (queue) => bulk(queue, "add", (i) => ({ x: i, y: i })),
  single: (queue) =>
    timed(async () => {
      for (let i = 0; i < count; i++) await queue.add("add", { x: i, y: i });
    }),
  round,
};

async function main() {
  const queue = new Queue(QUEUE, { connection });
  await queue.waitUntilReady();
  await measures[measure](queue);
  await queue.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
