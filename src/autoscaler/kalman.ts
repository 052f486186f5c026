/**
 * A Kalman filter with two states and one measurement at a time. A vector of independent measurements is several updates, one after another.
 */
export interface Estimate {
  readonly a: number;
  readonly b: number;
  readonly varA: number;
  readonly cov: number;
  readonly varB: number;
}

export interface Innovation {
  /** What was measured above what was expected. */
  readonly error: number;
  /** The variance that such an error has. */
  readonly variance: number;
}

/** Of a measurement z = ha·a + hb·b + noise. */
export const innovation = (now: Estimate, ha: number, hb: number, z: number, noise: number): Innovation => ({
  error: z - ha * now.a - hb * now.b,
  variance: ha * ha * now.varA + 2 * ha * hb * now.cov + hb * hb * now.varB + noise,
});

export const update = (now: Estimate, ha: number, hb: number, { error, variance }: Innovation): Estimate => {
  const gainA = (now.varA * ha + now.cov * hb) / variance;
  const gainB = (now.cov * ha + now.varB * hb) / variance;
  return {
    a: now.a + gainA * error,
    b: now.b + gainB * error,
    varA: Math.max(0, now.varA - gainA * (ha * now.varA + hb * now.cov)),
    cov: now.cov - gainA * (ha * now.cov + hb * now.varB),
    varB: Math.max(0, now.varB - gainB * (ha * now.cov + hb * now.varB)),
  };
};
