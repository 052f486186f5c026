import type { Io, Sink } from "./io.ts";

type Paint = (text: string) => string;

export interface Style {
  bold: Paint;
  dim: Paint;
  red: Paint;
  green: Paint;
  yellow: Paint;
  cyan: Paint;
}

const CODES = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] } as const;

const plain: Paint = (text) => text;

/** Colours for what is written to `sink`; none when it is no terminal or NO_COLOR is set. FORCE_COLOR wins over the former. */
export const styleOf = (sink: Sink, env: Io["env"]): Style => {
  const on = wantsColour(sink, env);
  const entries = Object.entries(CODES).map(([name, [open, close]]) => [name, on ? paint(open, close) : plain]);
  return Object.fromEntries(entries) as Style;
};

const paint =
  (open: number, close: number): Paint =>
  (text) =>
    `\u001b[${open}m${text}\u001b[${close}m`;

const wantsColour = (sink: Sink, { NO_COLOR, FORCE_COLOR, TERM }: Io["env"]): boolean => {
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== "") return FORCE_COLOR !== "0";
  return sink.isTTY && TERM !== "dumb";
};
