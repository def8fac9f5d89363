// The Node program that is every Node service of the lab: the wiring table says which (see ../wiring.py).
"use strict";
const fs = require("node:fs");
const { trace, SpanStatusCode } = require("@opentelemetry/api");
const logs = require("@opentelemetry/api-logs").logs.getLogger("shop");
const express = require("express");

const NAME = process.env.LAB_SERVICE;
const PEERS = JSON.parse(process.env.LAB_PEERS || "{}");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const host = (service) => (PEERS[service] ? PEERS[service][Math.floor(Math.random() * PEERS[service].length)] : service);

function log(severityText, body) {
  logs.emit({ severityNumber: { INFO: 9, WARN: 13, ERROR: 17 }[severityText], severityText, body });
}

// A small file that may change at any time.
class JsonFile {
  constructor(path) {
    this.path = path;
    this.read();
    setInterval(() => this.read(), 200).unref();
  }
  read() {
    try {
      this.value = JSON.parse(fs.readFileSync(this.path, "utf8"));
    } catch {} // half written: next time
  }
}
const config = new JsonFile(process.env.LAB_CONFIG);
const hurt = new JsonFile(process.env.LAB_HURT);

const leaked = [];
setInterval(() => {
  const { leak, burn } = hurt.value;
  if (leak) leaked.push(Buffer.alloc(Math.round((leak.mb_per_s * 2 ** 20) / 5), 1));
  else leaked.length = 0;
  // A share of the event loop's time, as a runaway callback takes it.
  if (burn) for (const until = Date.now() + 40 * burn.threads; Date.now() < until; );
}, 200).unref();

async function enter() {
  const { slow, exception } = hurt.value;
  if (slow) {
    const grown = slow.ramp_s ? Math.min(1, (Date.now() / 1000 - slow.since) / slow.ramp_s) : 1;
    await sleep(grown * slow.delay_s * 1000 * (0.7 + 0.6 * Math.random()));
  }
  if (exception && Math.random() < exception.share) throw new TypeError("cannot read properties of undefined (reading 'rules')");
  while (hurt.value.deadlock) await sleep(100);
}

let pool, cache, channel;
function database() {
  if (!pool) {
    const { Pool } = require("pg");
    const max = config.value.pool_size || 4;
    pool = new Pool({ host: host("store-db"), user: "shop", database: "shop", max, connectionTimeoutMillis: 2000, query_timeout: 4000 });
    pool.on("error", (error) => log("WARN", `database connection lost: ${error.message}`));
  }
  return pool;
}

const held = [];
setInterval(async () => {
  const taken = hurt.value["take-connections"];
  if (taken && !held.length) for (let i = 0; i < taken.count; i++) held.push(await database().connect());
  if (!taken) while (held.length) held.pop().release();
}, 200).unref();

async function publisher() {
  if (!channel) {
    const connection = await require("amqplib").connect(`amqp://${host("broker")}`);
    const lost = () => (channel = undefined);
    connection.on("error", lost).on("close", lost);
    channel = await connection.createChannel();
  }
  return channel;
}

async function bind(open, queue) {
  await open.assertExchange(queue, "direct", { durable: false });
  await open.assertQueue(queue, { durable: false });
  await open.bindQueue(queue, queue, queue);
}

const does = {
  async work(_values, ms) {
    const until = performance.now() + ms * (0.5 + Math.random());
    while (performance.now() < until);
  },
  async log(values, text) {
    log("INFO", fill(text, values));
  },
  async all(values, steps) {
    const failed = (await Promise.allSettled(steps.map((step) => run([step], values)))).find((r) => r.reason);
    if (failed) throw failed.reason;
  },
  async http(values, method, service, path, options) {
    const attempts = 1 + (config.value.retries ?? options.retries ?? 0);
    for (let attempt = 1; ; attempt++) {
      try {
        const timeout = 1000 * (config.value.timeout_s ?? options.timeout_s ?? 2);
        const body = method === "POST" ? JSON.stringify(values) : undefined;
        const headers = { "content-type": "application/json" };
        const answer = await fetch(`http://${host(service)}:8080${fill(path, values)}`, {
          method, body, headers, signal: AbortSignal.timeout(timeout),
        });
        const value = await answer.json();
        if (answer.status >= 400) throw new Error(`${service} answered ${answer.status}`);
        if (options.expect && !Number.isInteger(value[options.expect])) throw new RangeError(`invalid ${options.expect}`);
        return;
      } catch (error) {
        log("WARN", `call of ${service} failed: ${error.message}`);
        if (attempt >= attempts) {
          if (options.optional) return;
          throw error;
        }
        await sleep(1000 * (config.value.backoff_s ?? 0.05) * 2 ** attempt * (0.5 + Math.random()));
      }
    }
  },
  async sql(values, statement, names) {
    let number = 0;
    await database().query(statement.replace(/%s/g, () => `$${++number}`), names.map((name) => values[name]));
  },
  async redis(values, command, key) {
    if (!cache) {
      const options = { host: host("cache"), commandTimeout: 1000, connectTimeout: 1000, maxRetriesPerRequest: 1 };
      cache = new (require("ioredis"))({ ...options, retryStrategy: () => 500 });
      cache.on("error", (error) => log("WARN", `cache connection: ${error.message}`));
    }
    await cache.call(command, fill(key, values));
  },
  async publish(values, queue) {
    const open = await publisher();
    await bind(open, queue);
    open.publish(queue, queue, Buffer.from(JSON.stringify(values)));
  },
};

async function run(steps, values) {
  for (const [kind, ...rest] of steps) await does[kind](values, ...rest);
}

async function answer(steps, values) {
  await enter();
  await run(steps, values);
  const wrong = hurt.value["wrong-value"];
  return { service: NAME, cents: wrong && Math.random() < wrong.share ? null : 100 + NAME.length };
}

function failed(error) {
  const span = trace.getActiveSpan();
  span?.recordException(error);
  span?.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
  log("ERROR", `request failed: ${error.name}: ${error.message}`);
}

async function consume(queue, steps) {
  for (;;) {
    try {
      const connection = await require("amqplib").connect(`amqp://${host("broker")}`);
      connection.on("error", () => {});
      const open = await connection.createChannel();
      await bind(open, queue);
      await open.prefetch(1);
      await open.consume(queue, async (message) => {
        if (!message) return;
        try {
          await answer(steps, JSON.parse(message.content));
          open.ack(message);
        } catch (error) {
          failed(error);
          await sleep(200);
          open.nack(message, false, true);
        }
      });
      await new Promise((done) => connection.on("close", done));
    } catch (error) {
      log("WARN", `no broker: ${error.message}`);
    }
    await sleep(1000);
  }
}

const app = express();
app.use(express.json());
for (const [name, steps] of Object.entries(JSON.parse(process.env.LAB_ENDPOINTS))) {
  const [kind, place] = name.split(" ");
  if (kind === "queue") consume(place, steps);
  else
    app[kind.toLowerCase()](place.replace(/\{(\w+)\}/g, ":$1"), async (request, response) => {
      try {
        response.json(await answer(steps, { id: 1, user: "nobody", ...request.body, ...request.params }));
      } catch (error) {
        failed(error);
        response.status(500).json({ error: error.message });
      }
    });
}
app.listen(8080, process.env.LAB_ADDRESS);
