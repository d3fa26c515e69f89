// The AI binding's stand-in on its own: a Worker that calls `env.AI.run` with what it is posted and shows what came of
// it. Usage: node probe.mjs NPM_FOLDER AI_WORKER UPSTREAM_URL; prints `ready URL`, ends when stdin does.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [npm, aiWorker, upstream] = process.argv.slice(2);
const { convertV4MiniflareOptions, Miniflare } = await import(
  pathToFileURL(createRequire(join(npm, "package.json")).resolve("miniflare")).href
);

const PROBE = `
export default {
  async fetch(request, env) {
    const { model, inputs, options } = await request.json();
    try {
      const answer = await env.AI.run(model, inputs, options);
      if (answer instanceof ReadableStream) return new Response(answer, { headers: { "x-kind": "stream" } });
      if (answer instanceof Response) return new Response(answer.body, { headers: { "x-kind": "response" } });
      return Response.json(answer, { headers: { "x-kind": "value" } });
    } catch (error) {
      return new Response(error.message, { status: 500 });
    }
  },
};`;

const module = (path, contents) => [{ type: "ESModule", path, contents }];
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    host: "127.0.0.1",
    port: 0,
    cf: false,
    logRequests: false,
    telemetry: { enabled: false },
    workers: [
      {
        name: "probe",
        modules: module("probe.mjs", PROBE),
        compatibilityDate: "2026-09-08",
        serviceBindings: { AI: { name: "ai", entrypoint: "AI" } },
      },
      {
        name: "ai",
        modules: module("ai.mjs", readFileSync(aiWorker, "utf8")),
        compatibilityDate: "2026-09-08",
        bindings: { UPSTREAMS: { default: { url: upstream }, models: { "@cf/gone/model": { url: "http://127.0.0.1:9/v1" } } } },
      },
    ],
  }),
);
console.log(`ready ${(await miniflare.ready).origin}`);
process.stdin.resume().on("end", async () => {
  await miniflare.dispose();
  process.exit(0);
});
