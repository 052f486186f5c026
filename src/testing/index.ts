/** The testing kit: applications in memory under a clock that the test moves, and the suites that adapters must pass. */

export { RunError } from "../client/errors.ts";
export type { Disturbance } from "../cluster/memory-wire.ts";
export type { MemoryJournal } from "../journal/memory.ts";
export { createMemoryJournal } from "../journal/memory.ts";
export type { ClusterSubject } from "./cluster-conformance.ts";
export { clusterConformance } from "./cluster-conformance.ts";
export type { ClusterBench } from "./cluster-fixtures.ts";
export { CLUSTER_BUNDLE, clusterApplication } from "./cluster-fixtures.ts";
export type { JournalSubject } from "./journal-conformance.ts";
export { journalConformance } from "./journal-conformance.ts";
export type { CrashPoint } from "./mortal-journal.ts";
export type { Disturber, RandomFaults } from "./platform-faults.ts";
export type { StepClock } from "./step-clock.ts";
export { createStepClock } from "./step-clock.ts";
export type { StartOptions, TestApplication, TestPlatform, TestPlatformOptions } from "./test-platform.ts";
export { createTestPlatform } from "./test-platform.ts";
export type { SettleOptions, TestOutcome, TestRecovery, TestRun, TestRunDetails } from "./test-run.ts";
