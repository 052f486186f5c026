import type { Command, JournalRecord } from "../protocol/run.ts";

/** How a command differs from the journal's record at its place; `undefined` when it is the same. */
export const differenceOf = (recorded: JournalRecord, command: Command): string | undefined => {
  if (isSame(recorded, command)) return undefined;
  return `the journal has ${describeRecord(recorded)}, the code now makes ${describeRecord(command)}`;
};

const isSame = (recorded: JournalRecord, command: Command): boolean => {
  switch (command.t) {
    case "call":
      return recorded.t === "call" && recorded.fn === command.fn && recorded.input === command.input;
    case "sleep":
      return recorded.t === "sleep" && recorded.ms === command.ms;
    case "signal":
      return recorded.t === "signal" && recorded.name === command.name;
    case "step":
    case "stepping":
      return recorded.t === "step" && (command.t === "stepping" || recorded.name === command.name);
    case "child":
      return (
        recorded.t === "child" &&
        recorded.coordinator === command.coordinator &&
        recorded.input === command.input &&
        recorded.detached === command.detached
      );
    case "withdraw":
      return recorded.t === "withdraw" && recorded.target === command.target;
    case "state":
      return recorded.t === "state" && JSON.stringify(recorded.op) === JSON.stringify(command.op);
    case "compensate":
    case "on-stale":
      return recorded.t === command.t;
    case "finish":
      return false;
  }
};

const INPUT_SHOWN = 80;

const shown = (input: string): string => (input.length <= INPUT_SHOWN ? input : `${input.slice(0, INPUT_SHOWN)}…`);

export const describeRecord = (made: JournalRecord | Command): string => {
  switch (made.t) {
    case "call":
      return `a call of "${made.fn}" with ${shown(made.input) || "no input"}`;
    case "sleep":
      return `a sleep of ${made.ms} ms`;
    case "signal":
      return `a wait for signal "${made.name}"`;
    case "step":
      return `step "${made.name}"`;
    case "child":
      return `a ${made.detached ? "detached " : ""}child "${made.coordinator}" with ${shown(made.input) || "no input"}`;
    case "withdraw":
      return `a cancellation of step ${made.target}`;
    case "state":
      return `state ${made.op.op} of "${"key" in made.op ? made.op.key : made.op.prefix}"${"value" in made.op ? ` with ${shown(made.op.value ?? "")}` : ""}`;
    case "compensate":
      return "a compensation";
    case "on-stale":
      return "a wish to be told of stale values";
    default:
      return `a ${made.t}`;
  }
};
