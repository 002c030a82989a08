// What worker and client have in common.

exports.QUEUE = "bench";
exports.connection = {
  path: process.env.BENCH_SOCKET,
  maxRetriesPerRequest: null,
};
