import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { world } from "../../test/support/fake-io.ts";
import { programOf } from "./program.ts";

const text = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");
const sections = new Map(text.split(/^## /m).map((section) => [section.slice(0, section.indexOf("\n")), section]));
const program = programOf(world().io, () => async () => undefined);

const optionsOf = (command: Command): string[] => [
  ...command.options.map(({ long }) => long as string),
  ...command.commands.flatMap(optionsOf),
];

test.each(program.commands.map((command) => [command.name(), command] as const))(
  "docs/cli.md tells every option of %s and no other",
  (name, command) => {
    const section = sections.get(name);
    const told = new Set(section?.match(/--[a-z][a-z-]*/g));
    const real = new Set(optionsOf(command));
    // Not options of their own: what another command's example or remark mentions.
    expect([...real].filter((option) => !told.has(option))).toEqual([]);
    expect([...told].filter((option) => !real.has(option))).toEqual([]);
  },
);

test("docs/cli.md tells every subcommand and argument", () => {
  for (const command of program.commands) {
    const section = sections.get(command.name()) ?? "";
    for (const sub of command.commands) expect(section).toContain(`lockstep ${command.name()} ${sub.name()}`);
    for (const one of [command, ...command.commands]) {
      for (const argument of one.registeredArguments) {
        expect(section).toContain(argument.required ? `<${argument.name()}>` : `[${argument.name()}]`);
      }
    }
  }
});
