import * as Schema from "typebox/schema";
import type { Answer } from "./http.ts";

type Node = Record<string, unknown>;

/** What an answer has that the OpenAPI document does not allow, in words; `undefined` when it is as documented. */
export const deviation = (document: Node, method: string, path: string, answer: Answer): string | undefined => {
  const template = Object.keys(document.paths as Node).find((candidate) => patternOf(candidate).test(path.split("?", 1)[0] as string));
  const operation =
    template === undefined ? undefined : ((document.paths as Record<string, Node>)[template]?.[method.toLowerCase()] as Node);
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

const patternOf = (template: string): RegExp => new RegExp(`^${template.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`);

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
