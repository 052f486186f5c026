import type { BenchPlatform } from "../lib/platform.ts";

/** One row of the table: measured several times; each measurement gives one figure, or two (p50 and p99). */
export interface Case {
  name: string;
  unit: string;
  /** As the design states it; empty when it states none. */
  goal: string;
  measure(platform: BenchPlatform): Promise<number[]>;
}
