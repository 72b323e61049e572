import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import kafkajs from "kafkajs";
import { Odradek } from "../odradek.js";

const { Kafka, logLevel } = kafkajs;
let odradek;
let kafka;

before(async () => {
  odradek = await Odradek.start();
  kafka = new Kafka({ brokers: [odradek.bootstrapServers], logLevel: logLevel.NOTHING });
});

after(() => odradek.stop());

beforeEach(() => odradek.reset());

async function produce(value) {
  const producer = kafka.producer();
  await producer.connect();
  try {
    await producer.send({ topic: "orders", messages: [{ value }] });
  } finally {
    await producer.disconnect();
  }
}

test("a producer gets over an error of the broker", async () => {
  await odradek.post("/topics", { name: "orders" });
  await odradek.post("/faults", { fault: "fail", api: "Produce", error: "NOT_LEADER_OR_FOLLOWER", times: 2 });
  await produce("tea");
  assert.equal((await odradek.get("/requests?api=Produce&wait_for=3")).length, 3);
  const [record] = await odradek.get("/topics/orders/records");
  assert.equal(record.value, "tea");
});

test("records are gone when their time is over", async () => {
  await odradek.post("/topics", { name: "orders", config: { "retention.ms": 3_600_000 } });
  await produce("tea");
  await odradek.post("/clock/advance", { hours: 1, seconds: 1 });
  const admin = kafka.admin();
  await admin.connect();
  const [partition] = await admin.fetchTopicOffsets("orders");
  await admin.disconnect();
  assert.equal(partition.low, "1");
});

test("a group reads everything", async () => {
  const records = [{ key: "1", value: "tea" }, { key: "2", value: "biscuits" }];
  await odradek.post("/topics", { name: "orders", partitions: 3 });
  await odradek.post("/topics/orders/records", { records });
  const consumer = kafka.consumer({ groupId: "shop" });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic: "orders", fromBeginning: true });
    const read = [];
    await consumer.run({ autoCommitThreshold: 1, eachMessage: async ({ message }) => read.push(message.value.toString()) });
    await odradek.get("/groups/shop?members=1&max_lag=0&timeout_ms=30000");
    assert.deepEqual(read.sort(), ["biscuits", "tea"]);
  } finally {
    await consumer.disconnect();
  }
});
