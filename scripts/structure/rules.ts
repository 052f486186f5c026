/**
 * Where the house rules that `npm run check:structure` enforces are said, all of them in this one place. Patterns are globs from the root.
 */
export interface StructureRules {
  /** Files whose behaviour depends on their arguments alone. Tests are exempt from every rule but the cycles and `export *`. */
  pure: readonly string[];
  /** Exceptions from `pure`: the seams through which the world comes in. */
  impure: readonly string[];
  /** Packages that pure files may use: they compute and do no I/O. */
  purePackages: readonly string[];
  /** Files named by a technology, each an implementation of the `port.ts` beside it. */
  adapters: readonly string[];
  /** Who may import adapters. */
  wiring: readonly string[];
  tests: readonly string[];
  /** The most lines that an interface of a port should have; more is only warned of. */
  portLines: number;
}

export const rules: StructureRules = {
  pure: [
    "src/**/machine.ts",
    "src/**/*-machine.ts",
    "src/coordinator/run-{state,records,effects}.ts",
    "src/coordinator/restart.ts",
    "src/admin/classify.ts",
    "src/application/{permissions,state-key}.ts",
    "src/invocation/patterns.ts",
    "src/lib/**",
    "src/protocol/**",
    "src/expression/**",
    "src/state/{marks,transaction,watchers}.ts",
    "src/testing/history-checker.ts",
    "src/queue/{load,pace,turns}.ts",
    "src/scheduler/{callees,heartbeats,leases,silence,warm-pool}.ts",
    "src/consensus/**",
    "src/pod/replica-report.ts",
    "src/replicas/{compared-outcome,divergence,newcomers,seats}.ts",
    "src/autoscaler/{arrivals,decide,hpa,kalman,kpa,predictive,queueing,returns,scale,season,service-time,threshold}.ts",
    "src/triggers/match.ts",
    "src/monitor/{alerts,diagnose,match,rules}.ts",
  ],
  impure: ["src/lib/clock.ts"],
  purePackages: ["msgpackr", "typebox"],
  adapters: [
    "src/journal/{sqlite,memory,postgres}*.ts",
    "src/journal/{sqlite,postgres}/**",
    "src/cluster/{local,memory,kubernetes}*.ts",
    "src/cluster/{local,kubernetes}/**",
    "src/state/{sqlite,memory,postgres}*.ts",
    "src/objects/{filesystem,memory,s3}*.ts",
  ],
  wiring: ["src/platform.ts", "src/testing/**", "src/cli/**"],
  tests: ["src/**/*.test.ts", "scripts/**/*.test.ts", "test/**", "bench/**"],
  portLines: 45,
};
