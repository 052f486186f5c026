import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    // Tests import the package by its own name and get the sources, not the last build.
    alias: [
      { find: /^lockstep$/, replacement: source("index.ts") },
      { find: /^lockstep\/client$/, replacement: source("client/index.ts") },
      { find: /^lockstep\/testing$/, replacement: source("testing/index.ts") },
      { find: /^lockstep\/verify$/, replacement: source("verify/index.ts") },
    ],
  },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "scripts/**/*.test.ts", "examples/**/*.test.ts", "bench/**/*.test.ts", "sim/**/*.test.ts"],
          maxWorkers: "100%",
          // For what hangs, not for what is slow: some tests start a platform for each commit of a run, on machines that do other work.
          testTimeout: 60_000,
          // From 1: Vitest gives a group 0 of one worker, as on a machine with two cores, the last place.
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          // Real processes, files and ports, against the build in dist/: two files at a time, after the unit tests.
          name: "end-to-end",
          include: ["test/**/*.test.ts"],
          pool: "forks",
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
