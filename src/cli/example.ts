import type { ApplicationVersion } from "../protocol/application.ts";

/** A command that a newcomer can paste to see the application do something. */
export const exampleRequest = (url: string, { manifest }: ApplicationVersion, needsKey: boolean): string | undefined => {
  const { functions, coordinators } = manifest;
  const key = needsKey ? ` -H "authorization: Bearer $LOCKSTEP_API_KEY"` : "";
  const curl = (path: string, body: object): string =>
    `curl -s '${url}${path}?wait=30s'${key} -H 'content-type: application/json' -d '${JSON.stringify(body)}'`;
  const operators = ["add", "multiply", "divide"].every((operator) => functions.some(({ name }) => name === operator));
  if (operators) return curl("/v1/expressions", { expression: "((3+5)*(4/2))" });
  const [coordinator] = coordinators;
  if (coordinator !== undefined) return curl(`/v1/coordinators/${coordinator.name}/runs`, { input: {} });
  const [fn] = functions;
  return fn === undefined ? undefined : curl(`/v1/functions/${fn.name}/calls`, { input: {} });
};
