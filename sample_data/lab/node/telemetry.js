// Auto-instrumentation of the Node services: what `auto-instrumentations-node/register` does, told by the environment,
// with what only code can say: scrapes are no requests, and a middleware is no operation.
"use strict";
const { NodeSDK } = require("@opentelemetry/sdk-node");
const { getNodeAutoInstrumentations } = require("@opentelemetry/auto-instrumentations-node");

const sdk = new NodeSDK({
  instrumentations: getNodeAutoInstrumentations({
    "@opentelemetry/instrumentation-http": { ignoreIncomingRequestHook: (request) => request.url === "/metrics" },
    "@opentelemetry/instrumentation-express": { ignoreLayersType: ["middleware", "request_handler"] },
    "@opentelemetry/instrumentation-pg": { requireParentSpan: true, ignoreConnectSpans: true },
    "@opentelemetry/instrumentation-ioredis": { requireParentSpan: true },
  }),
});
sdk.start();
process.once("SIGTERM", () => sdk.shutdown().finally(() => process.exit(0)));
