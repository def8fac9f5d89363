// A service and its client in one process, auto-instrumented; says how many spans it has ended.
"use strict";
const { NodeSDK } = require("@opentelemetry/sdk-node");
const { BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { getNodeAutoInstrumentations } = require("@opentelemetry/auto-instrumentations-node");

const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${process.argv[3]}`);
const counter = {
  ended: 0,
  onStart() {},
  onEnd() {
    this.ended += 1;
  },
  forceFlush: async () => {},
  shutdown: async () => {},
};
const sdk = new NodeSDK({
  instrumentations: getNodeAutoInstrumentations(),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter()), counter],
});
sdk.start();

const http = require("http");
const express = require("express");
const app = express();
app.get("/items/:number", (request, response) => response.json({ item: request.params.number }));
const server = app.listen(0, async () => {
  const { port } = server.address();
  for (let number = 0; number < Number(process.argv[2]); number += 1)
    await new Promise((done) => http.get(`http://127.0.0.1:${port}/items/${number}`, (r) => r.resume().on("end", done)));
  server.closeAllConnections();
  server.close(async () => {
    await sdk.shutdown();
    console.log("ended", counter.ended);
    process.exit(0);
  });
});
