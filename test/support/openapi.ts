import * as Schema from "typebox/schema";
import type { Answer } from "./http.ts";

type Node = Record<string, unknown>;

/** What an answer has that the OpenAPI document does not allow, in words; `undefined` when it is as documented. */
export const deviation = (document: Node, method: string, path: string, answer: Answer): string | undefined => {
  const paths = document.paths as Record<string, Node>;
  const fitting = Object.keys(paths).filter((candidate) => patternOf(candidate).test(path.split("?", 1)[0] as string));
  // A literal segment goes before a parameter: /v1/runs/retry is not the run "retry".
  const template = fitting
    .sort((a, b) => a.split("{").length - b.split("{").length)
    .find((one) => method.toLowerCase() in (paths[one] as Node));
  const operation = template === undefined ? undefined : (paths[template]?.[method.toLowerCase()] as Node);
  if (operation === undefined) return `${method} ${path} is not documented`;
  const response = (operation.responses as Record<string, Node>)[answer.status];
  if (response === undefined) return `${method} ${template} does not document status ${answer.status}`;
  const content = response.content as Record<string, { schema: Node }> | undefined;
  if (content === undefined) return answer.text === "" ? undefined : `${method} ${template} ${answer.status} documents no body`;
  const type = answer.headers["content-type"]?.split(";", 1)[0] ?? "none";
  const schema = content[type]?.schema;
  if (schema === undefined) return `${method} ${template} ${answer.status} does not document ${type}`;
  const [ok, errors] = Schema.Errors(strict({ ...schema, components: document.components }) as never, answer.json ?? answer.text);
  return ok ? undefined : `${method} ${template} ${answer.status}: ${JSON.stringify(errors)}`;
};

const patternOf = (template: string): RegExp =>
  new RegExp(
    `^${template
      .replaceAll(".", "\\.")
      .replaceAll(/\{(path|key)\}/g, ".+")
      .replaceAll(/\{\w+\}/g, "[^/]+")}$`,
  );

/** The same schema without room for members that it does not name. */
const strict = (node: unknown, insideAllOf = false): unknown => {
  if (Array.isArray(node)) return node.map((item) => strict(item, insideAllOf));
  if (typeof node !== "object" || node === null) return node;
  const copy: Node = {};
  for (const [name, child] of Object.entries(node)) copy[name] = strict(child, name === "allOf");
  if (copy.type === "object" && typeof copy.properties === "object" && !insideAllOf && copy.additionalProperties === undefined) {
    copy.additionalProperties = false;
  }
  return copy;
};
