import type { Json } from "../lib/json.ts";

// A call of a replicated function is one operation with one input, and so is its compensation: its input is the call's input and output.

/** What the compensation of a call is given. */
export const undoInput = (input: Json, output: Json): Json => {
  const members = [
    ["input", input],
    ["output", output],
  ].filter(([, text]) => text !== "");
  return `{${members.map(([name, text]) => `"${name}":${text}`).join(",")}}`;
};

/** Whether an operation `run/seq/…` compensates a call: then its number is the negative one of that. */
export const isUndo = (operation: string): boolean => operation.split("/", 2)[1]?.startsWith("-") === true;
