// Runs the Worker and the stand-in for the AI binding in one workerd, through miniflare: `node runner.mjs RUN.json`.
// The bindings are what wrangler itself reads out of wrangler.toml; what only this machine needs comes from RUN.json
// (scripts/local/runtime/run_config.py). Prints `ready URL` on stdout, with
// the address of workerd's inspector behind it where that is wanted; the Worker's log goes to stderr. Ends when stdin does.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const run = JSON.parse(readFileSync(process.argv[2], "utf8"));
const load = (name) => import(pathToFileURL(createRequire(join(run.npm, "package.json")).resolve(name)).href);
const { convertV4MiniflareOptions, Log, LogLevel, Miniflare } = await load("miniflare");

let ending = false;
let miniflare;
let session;

async function end(code) {
  if (ending) return;
  ending = true;
  await Promise.allSettled([miniflare?.dispose(), session?.dispose()]);
  process.exit(code);
}

process.stdin.resume().on("end", () => end(0)).on("error", () => end(0));
process.on("SIGTERM", () => end(0));
process.on("SIGINT", () => {}); // Ctrl-C reaches the whole group; the Python parent decides, by closing stdin

// The real binding takes a signal in the Worker's own isolate; to the stand-in it has to cross RPC.
const ABORT_FLAGS = ["enable_abortsignal_rpc"];

try {
  miniflare = new Miniflare(convertV4MiniflareOptions(await instance()));
  const inspector = run.inspector ? ` ${(await miniflare.getInspectorURL()).host}` : "";
  console.log(`ready ${(await miniflare.ready).origin}${inspector}`);
} catch (error) {
  console.error(error.message);
  await end(1);
}

async function instance() {
  return {
    host: "127.0.0.1",
    port: run.port,
    ...(run.inspector ? { inspectorPort: 0 } : {}),
    cf: false,
    log: new Log(LogLevel.WARN),
    logRequests: false,
    handleStructuredLogs: ({ message }) => process.stderr.write(`${message}\n`),
    resourcePersistencePath: run.state,
    resourceTmpPath: join(run.state, "tmp"),
    telemetry: { enabled: false },
    workers: [await worker(), aiWorker()],
  };
}

async function worker() {
  const { modulesRules, rootPath, ai, serviceBindings, ...options } = await deployed();
  return {
    ...options,
    name: run.name,
    modulesRoot: "/worker",
    modules: [...ownModules(), ...vendoredModules()],
    compatibilityFlags: [...options.compatibilityFlags, ...run.flags, ...ABORT_FLAGS],
    bindings: { ...options.bindings, ...run.vars },
    ...(await aiBinding(serviceBindings)),
  };
}

async function aiBinding(serviceBindings) {
  if (run.upstreams) return { serviceBindings: { ...serviceBindings, AI: { name: "ai", entrypoint: "AI" } } };
  const { startRemoteProxySession } = await load("wrangler");
  session = await startRemoteProxySession({ AI: { type: "ai" } });
  await session.ready;
  return { serviceBindings, ai: { binding: "AI", remoteProxyConnectionString: session.remoteProxyConnectionString } };
}

function aiWorker() {
  return {
    name: "ai",
    modules: [{ type: "ESModule", path: "ai.mjs", contents: readFileSync(run.aiWorker, "utf8") }],
    compatibilityDate: run.compatibilityDate,
    compatibilityFlags: ABORT_FLAGS,
    bindings: { UPSTREAMS: run.upstreams ?? {} },
  };
}

// Reading the configuration through wrangler takes a second; the result is kept for as long as its inputs are the same.
async function deployed() {
  const inputs = [run.wranglerToml, join(dirname(run.wranglerToml), ".dev.vars")].filter((file) => existsSync(file));
  const digest = createHash("sha256").update(run.npm).update(inputs.map((file) => readFileSync(file)).join("\0"));
  const kept = join(run.cache, `options-${digest.digest("hex").slice(0, 16)}.json`);
  if (existsSync(kept)) return JSON.parse(readFileSync(kept, "utf8"));
  const { unstable_getMiniflareWorkerOptions: read } = await load("wrangler");
  const { workerOptions } = read(run.wranglerToml);
  mkdirSync(run.cache, { recursive: true });
  writeFileSync(kept, JSON.stringify(workerOptions), { mode: 0o600 });
  return workerOptions;
}

// The first module is the entry: the platform's limits, before what a test puts before the Worker's own.
function ownModules() {
  const front = run.front ? [pythonModule(run.main, run.front)] : [];
  return [...strictModules(), ...front, ...run.modules.map((name) => pythonModule(name, join(run.source, name)))];
}

function strictModules() {
  if (!run.platform) return [];
  const main = `import ${run.main.replace(/\.py$/, "")} as worker\nfrom strict_platform.front import enforced\n\nglobals().update(enforced(worker))\n`;
  const own = files(run.platform).map((name) => pythonModule(`strict_platform/${name}`, join(run.platform, name)));
  return [{ type: "PythonModule", path: "/worker/strict_main.py", contents: main }, ...own];
}

function vendoredModules() {
  return files(run.pythonModules).map((name) => {
    const [inWorker, file] = [`python_modules/${name}`, join(run.pythonModules, name)];
    if (name.endsWith(".py")) return pythonModule(inWorker, file);
    const script = name.startsWith("workers/") && /\.m?js$/.test(name);
    return { type: script ? "ESModule" : "Data", path: `/worker/${inWorker}`, contents: readFileSync(file, script ? "utf8" : null) };
  });
}

function pythonModule(name, file) {
  return { type: "PythonModule", path: `/worker/${name}`, contents: readFileSync(file, "utf8") };
}

function files(folder, below = "") {
  return readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) => {
    const name = below ? `${below}/${entry.name}` : entry.name;
    if (entry.isDirectory()) return entry.name === "__pycache__" ? [] : files(folder, name);
    return name.endsWith(".pyc") ? [] : [name];
  });
}
