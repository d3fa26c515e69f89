// In the place of the one function that dspy's runner takes from deno.land, so that npm is all that it needs.
export async function* readLines(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of reader.readable) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop();
    yield* lines;
  }
  if (rest) yield rest;
}
