import type { Command } from "commander";
import type { CommonOptions, Context } from "./context.ts";
import type { ExitCode } from "./exit-codes.ts";

/** What a command does: its arguments in order, then its options. Without a code it ends with 0. */
export type Handler<Args extends unknown[], Options> = (
  context: Context,
  args: Args,
  options: Options & CommonOptions,
) => Promise<ExitCode | undefined>;

/** Makes commander's action of a handler. */
export type Does = <Args extends unknown[], Options>(handler: Handler<Args, Options>) => (...given: unknown[]) => Promise<void>;

/** Adds a verb to the program. Its module is loaded at each start, so what is heavy is imported inside the handler. */
export type Verb = (program: Command, does: Does) => void;
