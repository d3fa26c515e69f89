// Stands in for the AI binding: Workers AI's `run(model, inputs, options)` in front of any OpenAI-compatible server.
// JavaScript, because it takes the place of a part of the platform that is not Python either: a second Pyodide isolate
// would add its own start-up and its own milliseconds to every measurement made through it.
//
// UPSTREAMS: {"default": {"url", "model", "key"} | absent, "models": {id: {the same}}}: where a model is asked, by which
// name where that is not its id, and the key that opens the server. A model that neither names is error 5007.
// An answer whose model is another one than was asked for says so as `answered_by`, which Workers AI does not have.

import { WorkerEntrypoint } from "cloudflare:workers";

const NEWER_SHAPE = /gpt-oss|qwen3|glm|gemma-4|^(openai|anthropic|google-ai-studio|workers-ai)\//;
// Third parties' models need a gateway; Anthropic's are asked and answer in Anthropic's own shape.
const THIRD_PARTY = /^(?!@|local\/)[^/:]+\//;
const MESSAGES_SHAPE = /^anthropic\//;
const OLDER_DEFAULT_MAX_TOKENS = 256;
const JSON_FORMATS = new Set(["json_object", "json_schema"]);
const CODE_BY_STATUS = { 401: 5016, 403: 5016, 404: 5007, 408: 3007, 413: 3006, 429: 3040, 504: 3007 };
const BAD_INPUT = 5004;
const JSON_MODE_FAILED = 5024;
const JSON_MODE_UNKNOWN = 5025;
// How Workers AI's own models take a schema: as it is, with a name around it, or not at all (every other `@cf/` model).
const BARE_SCHEMA = /^@cf\/(meta\/llama-3\.[23]-|qwen\/qwen3-30b)/;
const NAMED_SCHEMA = /^@cf\/zai-org\/glm-4\.7/;
const INTERNAL = 3043;
const UNREACHABLE = 1031;

export class AI extends WorkerEntrypoint {
  async run(model, inputs = {}, options = {}) {
    const upstream = this.#upstream(model);
    const task = judgeTask(model, inputs);
    if (task) return judgement(model, task, inputs, await this.#judge(upstream, model, task, inputs, options ?? {}));
    if (THIRD_PARTY.test(model) && !options?.gateway?.id) throw failure(BAD_INPUT, `${model} needs a gateway`);
    const asked = MESSAGES_SHAPE.test(model) ? chatInputs(inputs) : inputs;
    const body = { ...upstreamBody(model, asked), model: upstream.model ?? model };
    const response = await this.#post(upstream, body, options ?? {});
    if (!response.ok) throw await upstreamError(response);
    const stranger = strangerTo(model, upstream, body);
    if (body.stream) return eventStream(response, model, stranger);
    const answer = shaped(model, await parsed(response), body.response_format, stranger);
    return options?.returnRawResponse ? Response.json(answer) : answer;
  }

  #upstream(model) {
    const upstreams = this.env.UPSTREAMS;
    const upstream = upstreams.models?.[model] ?? upstreams.default;
    if (!upstream) throw failure(5007, `No such model ${model} or task`);
    return upstream;
  }

  async #judge(upstream, model, task, inputs, options) {
    const body = { ...JUDGES[task].body(model, inputs), model: upstream.model ?? model };
    const response = await this.#post(upstream, body, options, JUDGES[task].route);
    if (!response.ok) throw await upstreamError(response);
    return parsed(response);
  }

  async #post(upstream, body, options, route = "chat/completions") {
    try {
      return await fetch(`${upstream.url}/${route}`, {
        method: "POST",
        headers: { ...upstreamHeaders(options), ...(upstream.key ? { authorization: `Bearer ${upstream.key}` } : {}) },
        body: JSON.stringify(body),
        signal: options.signal,
      });
    } catch (error) {
      if (options.signal?.aborted) throw failure(3008, "Request was aborted");
      throw failure(UNREACHABLE, `the model server cannot be reached (${error.message})`);
    }
  }
}

export default {
  fetch: () => new Response("This Worker is reached by its entrypoint AI only.", { status: 404 }),
};

// Models that judge texts: what each is asked with, where an OpenAI-compatible server is asked the same, what it takes.
// A reranker cuts what is too long, and so does a decision model; embeddings refuse it.
const JUDGES = {
  rerank: {
    ids: /^@cf\/baai\/bge-reranker/,
    route: "rerank",
    body: (_model, { query, contexts }) => ({ query, documents: contexts.map(({ text }) => text ?? "").map((text) => cut(text, 512)) }),
    answer: ({ results = [] }, { contexts, top_k: most = contexts.length }) => ({
      response: results
        .map(({ index, relevance_score: score }) => ({ id: index, score }))
        .sort((one, other) => other.score - one.score)
        .slice(0, most),
    }),
  },
  embed: {
    ids: /^@cf\/(baai\/bge-(m3|small|base|large)|qwen\/qwen3-embedding)/,
    route: "embeddings",
    body: (model, { text }) => ({ input: embeddable(model, [text].flat()) }),
    answer: ({ data = [] }) => {
      const vectors = [...data].sort((one, other) => one.index - other.index).map(({ embedding }) => embedding);
      return { shape: [vectors.length, vectors[0]?.length ?? 0], data: vectors, pooling: "cls" };
    },
  },
  decide: {
    ids: /^@cf\/cloudflare\/clef/,
    route: "decisions",
    body: (_model, { state, questions }) => ({ state: cut(state, 65_536), questions: answerable(questions) }),
    answer: ({ answers, usage }) => ({ answers, usage }),
  },
};
const MOST_TEXTS = 100;
const MOST_QUESTIONS = 64;
const EMBEDDED_TOKENS = 8_192;
const WRONG_INPUT = 3010;

function judgeTask(model, inputs) {
  const asked = inputs.contexts ? "rerank" : inputs.text !== undefined ? "embed" : inputs.state !== undefined ? "decide" : undefined;
  const known = Object.keys(JUDGES).find((task) => JUDGES[task].ids.test(model));
  if (known && known !== asked) throw failure(WRONG_INPUT, "Invalid or incomplete input for the model");
  return known ?? (model.startsWith("@") ? undefined : asked);
}

function judgement(model, task, inputs, answer) {
  const named = answer.model && answer.model !== model;
  return { ...JUDGES[task].answer(answer, inputs), ...(named ? { answered_by: `local/${answer.model}` } : {}) };
}

function tokensOf(text) {
  return Math.ceil(new TextEncoder().encode(text).length / 4);
}

function cut(text, tokens) {
  return tokensOf(text) > tokens ? text.slice(0, 4 * tokens) : text;
}

function embeddable(model, texts) {
  if (texts.length > MOST_TEXTS) throw failure(WRONG_INPUT, `Invalid or incomplete input for the model: more than ${MOST_TEXTS} texts`);
  if (texts.some((text) => tokensOf(text) > EMBEDDED_TOKENS)) throw failure(WRONG_INPUT, `The input exceeded this model context window limit (${EMBEDDED_TOKENS})`);
  return texts;
}

function answerable(questions) {
  const asked = Object.values(questions ?? {});
  const whole = asked.every(({ type, instructions }) => ["noul", "choice", "score"].includes(type) && instructions);
  if (!asked.length || asked.length > MOST_QUESTIONS || !whole) throw failure(WRONG_INPUT, "Invalid or incomplete input for the model");
  return questions;
}

// Gives, of the name that an answer carries, who has answered in the place of `model`; undefined where it has itself.
function strangerTo(model, upstream, body) {
  const own = upstream.model && model !== `local/${upstream.model}` ? `local/${upstream.model}` : undefined;
  return (name) => (name && name !== body.model && !name.endsWith(`/${body.model}`) ? `local/${name}` : own);
}

function isNewer(model) {
  return NEWER_SHAPE.test(model);
}

function upstreamBody(model, inputs) {
  const { prompt, messages, response_format: format, ...rest } = inputs;
  if (prompt === undefined && !Array.isArray(messages)) throw failure(BAD_INPUT, "required properties: prompt or messages");
  if (rest.stream && JSON_FORMATS.has(format?.type)) throw failure(BAD_INPUT, "JSON mode does not stream");
  const body = { ...rest, model, messages: messages ?? [{ role: "user", content: prompt }] };
  if (!isNewer(model)) body.max_tokens ??= OLDER_DEFAULT_MAX_TOKENS;
  if (body.stream) body.stream_options = { include_usage: true };
  if (format) body.response_format = upstreamFormat(model, format);
  return body;
}

// A schema in the wrong shape is ignored by the platform, or worse; here it is refused, so that a test sees it.
// llama.cpp ignores the bare form without a word: to the server it always goes with a name.
function upstreamFormat(model, format) {
  const given = format.json_schema;
  if (format.type !== "json_schema" || !given) return format;
  const named = typeof given.schema === "object" && given.type === undefined;
  const [bareOnly, namedOnly] = [BARE_SCHEMA.test(model), NAMED_SCHEMA.test(model)];
  if (model.startsWith("@cf/") && !bareOnly && !namedOnly) throw failure(JSON_MODE_UNKNOWN, "This model doesn't support JSON Schema");
  if (bareOnly && named) throw failure(BAD_INPUT, "json_schema must be the schema itself for this model");
  if (namedOnly && !named) throw failure(BAD_INPUT, "json_schema must be {name, schema, strict} for this model");
  return { type: "json_schema", json_schema: { name: "answer", ...(named ? given : { schema: given }) } };
}

// What has no place in the body is shown to the server as headers, so that its log can record it.
function upstreamHeaders(options) {
  const shown = { gateway: options.gateway, rejectIfBusy: options.rejectIfBusy, extraHeaders: options.extraHeaders };
  return { "content-type": "application/json", "x-ai-options": JSON.stringify(shown), ...(options.extraHeaders ?? {}) };
}

function shaped(model, answer, format, stranger) {
  const other = stranger(answer.model);
  const said = other ? { answered_by: other } : {};
  if (MESSAGES_SHAPE.test(model)) return asMessage(model, answer);
  if (isNewer(model)) return { ...answer, ...said };
  const message = answer.choices?.[0]?.message ?? {};
  const content = message.content === undefined ? "" : message.content;
  const response = JSON_FORMATS.has(format?.type) ? jsonMode(content) : content;
  return { response, tool_calls: message.tool_calls ?? [], usage: answer.usage, ...said };
}

function jsonMode(content) {
  if (typeof content !== "string") return content; // null too: an answer that is none, and is billed
  try {
    return JSON.parse(content);
  } catch {
    throw failure(JSON_MODE_FAILED, "JSON Mode couldn't be met");
  }
}

async function parsed(response) {
  try {
    return await response.json();
  } catch (error) {
    throw failure(INTERNAL, `the model server's answer cannot be read (${error.message})`);
  }
}

function failure(code, text) {
  return new Error(`${code}: ${text}`);
}

// A message that starts with a code keeps it; else the status decides. A wait that the server asks for becomes the
// last words of the message: "retry after 7s".
async function upstreamError(response) {
  const text = await errorText(response);
  const wait = response.headers.get("retry-after");
  const suffix = wait ? `; retry after ${wait}s` : "";
  if (/^\d{4}: /.test(text)) return new Error(text + suffix);
  return failure(codeFor(response.status, text), text + suffix);
}

async function errorText(response) {
  const text = await response.text();
  try {
    const error = JSON.parse(text).error;
    return String(error?.message ?? error ?? text);
  } catch {
    return text.slice(0, 500) || `HTTP status ${response.status}`;
  }
}

function codeFor(status, text) {
  if (status === 400 && /context|exceed|too (long|large)/i.test(text)) return 3006;
  return CODE_BY_STATUS[status] ?? (status < 500 ? BAD_INPUT : INTERNAL);
}

// A stream that the server breaks off ends here in the same way: without [DONE].
function eventStream(response, model, stranger) {
  const { readable, writable } = new IdentityTransformStream();
  const shape = MESSAGES_SHAPE.test(model) ? messageEvent : isNewer(model) ? newerEvent : olderEvent;
  pump(response.body, writable, shape, stranger).catch(() => {});
  return readable;
}

async function pump(source, writable, shape, stranger) {
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  try {
    for await (const data of events(source)) {
      const event = data === "[DONE]" ? data : shape(JSON.parse(data), stranger);
      if (event !== null) await writer.write(encoder.encode(`data: ${event}\n\n`));
    }
    await writer.close();
  } catch (error) {
    await writer.abort(error);
  }
}

async function* events(source) {
  let rest = "";
  for await (const block of source.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + block).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

function newerEvent(chunk, stranger) {
  const other = stranger(chunk.model);
  return JSON.stringify(other ? { ...chunk, answered_by: other } : chunk);
}

function olderEvent(chunk, stranger) {
  if (chunk.error) return JSON.stringify({ error: chunk.error.message ?? chunk.error });
  const content = chunk.choices?.[0]?.delta?.content;
  const other = stranger(chunk.model);
  const said = other ? { answered_by: other } : {};
  if (chunk.usage) return JSON.stringify({ response: content ?? null, usage: chunk.usage, ...said });
  return content === undefined || content === null ? null : JSON.stringify({ response: content });
}

// Anthropic's shape, there and back: what the server speaks is OpenAI's.
function chatInputs({ system, messages = [], max_tokens, temperature, stream }) {
  const text = (content) => (typeof content === "string" ? content : (content ?? []).map((block) => block.text ?? "").join(""));
  const said = messages.map(({ role, content }) => ({ role, content: text(content) }));
  return { messages: [...(system ? [{ role: "system", content: text(system) }] : []), ...said], max_tokens, temperature, stream };
}

function asMessage(model, answer) {
  const { message, finish_reason: reason } = answer.choices?.[0] ?? {};
  const usage = { input_tokens: answer.usage?.prompt_tokens, output_tokens: answer.usage?.completion_tokens };
  const content = [{ type: "text", text: message?.content ?? "" }];
  return { type: "message", role: "assistant", model, content, stop_reason: stopReason(reason), usage };
}

function stopReason(reason) {
  return reason === "length" ? "max_tokens" : "end_turn";
}

// The usage comes last, and says of the input what Anthropic says in the first event too.
function messageEvent(chunk) {
  const { delta, finish_reason: reason } = chunk.choices?.[0] ?? {};
  if (chunk.error) return JSON.stringify({ type: "error", error: { type: "api_error", message: String(chunk.error.message ?? chunk.error) } });
  if (chunk.usage) {
    const usage = { input_tokens: chunk.usage.prompt_tokens, output_tokens: chunk.usage.completion_tokens };
    return JSON.stringify({ type: "message_delta", delta: {}, usage });
  }
  if (reason) return JSON.stringify({ type: "message_delta", delta: { stop_reason: stopReason(reason) } });
  if (!delta?.content) return null;
  return JSON.stringify({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: delta.content } });
}
