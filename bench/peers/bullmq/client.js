// client.js MEASURE N: prints `name value` lines; times in seconds.

const { FlowProducer, Queue, QueueEvents } = require("bullmq");
const Redis = require("ioredis");
const { QUEUE, connection } = require("./options");

const BATCH = 1000;
const MEMBERS = 1000; // of a large group or chord
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

// Events from here on. By default they are those from when it begins to read,
// which may be behind the end of the first job.
async function openEvents(queue) {
  const redis = new Redis(connection);
  const key = queue.toKey("events");
  const [last] = await redis.xrevrange(key, "+", "-", "COUNT", 1);
  redis.disconnect();
  const lastEventId = last ? last[0] : "0-0";
  const events = new QueueEvents(QUEUE, { connection, lastEventId });
  await events.waitUntilReady();
  return events;
}

async function round(queue) {
  const events = await openEvents(queue);
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

// Prints how long each took.
async function each(due, work) {
  for (let i = 0; i < count; i++) {
    const start = now();
    const value = await work();
    console.log(`${measure} ${now() - start}`);
    if (value !== due) throw new Error(`${value} is not ${due}`);
  }
}

// Adds a flow, of which the result of the job at its root is waited for.
async function flows(queue, due, root) {
  const events = await openEvents(queue);
  const producer = new FlowProducer({ connection });
  await producer.waitUntilReady();
  await each(due, async () => {
    const { job } = await producer.add(root);
    return job.waitUntilFinished(events);
  });
  await producer.close();
  await events.close();
}

const node = (name, data, children) => ({
  name,
  queueName: QUEUE,
  data,
  children,
});

const range = (n) => Array.from({ length: n }, (_, i) => i + 1);

const chain = (queue) =>
  flows(
    queue,
    25,
    node("plus", { y: 5 }, [
      node("plus", { y: 10 }, [node("add", { x: 4, y: 6 })]),
    ]),
  );

const chord = (queue, members) =>
  flows(
    queue,
    (members * (members + 1) * (2 * members + 1)) / 6,
    node(
      "total",
      {},
      range(members).map((x) => node("square", { x })),
    ),
  );

// All results come as events: to wait for each job by itself takes longer.
async function group(queue) {
  const events = await openEvents(queue);
  let onResult;
  events.on("completed", ({ returnvalue }) => onResult(returnvalue));
  const list = range(MEMBERS).map((i) => ({
    name: "add",
    data: { x: i, y: i },
  }));
  await each(MEMBERS * (MEMBERS + 1), async () => {
    let [sum, left] = [0, MEMBERS];
    const all = new Promise((resolve) => {
      onResult = (value) => {
        sum += value;
        if (--left === 0) resolve(sum);
      };
    });
    await queue.addBulk(list);
    return all;
  });
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
  chain,
  chord: (queue) => chord(queue, 10),
  largechord: (queue) => chord(queue, MEMBERS),
  group,
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
