/**
 * What a layer's calls have taken, as sums that only grow: the difference of two readings gives the means of the time between them. Nothing is
 * kept per call.
 */
export class Load {
  /** Calls that came to wait, and those whose attempts ended. */
  arrived = 0;
  ended = 0;
  #waiting = 0;
  #running = 0;
  /** Sums of the times at which those came that are there now, counted from the first. */
  #sinceSum = 0;
  #leasedSum = 0;
  #responseMs = 0;
  #serviceMs = 0;
  #epoch: number | undefined;

  arrive(now: number): void {
    this.#epoch ??= now;
    this.arrived++;
    this.#waiting++;
    this.#sinceSum += now - this.#epoch;
  }

  begin(now: number): void {
    this.#waiting--;
    this.#running++;
    this.#leasedSum += now - (this.#epoch as number);
  }

  /** A call that executes ends. */
  end(waitingSince: number, leasedAt: number, now: number): void {
    this.#leave(waitingSince, leasedAt);
    this.ended++;
    this.#responseMs += now - waitingSince;
    this.#serviceMs += now - leasedAt;
  }

  /** A call is taken out; `leasedAt` is undefined for one that waits. */
  withdraw(waitingSince: number, leasedAt: number | undefined): void {
    if (leasedAt !== undefined) return this.#leave(waitingSince, leasedAt);
    this.#waiting--;
    this.#sinceSum -= waitingSince - (this.#epoch as number);
  }

  /** Milliseconds that calls that ended have taken, from arrival and from the beginning of their execution. */
  get responseMs(): number {
    return this.#responseMs;
  }

  get serviceMs(): number {
    return this.#serviceMs;
  }

  /** The integral over time of the calls that were there, or executed: what those that are there now have taken so far counts too. */
  inFlightMs(now: number): number {
    return this.#responseMs + (this.#waiting + this.#running) * this.#age(now) - this.#sinceSum;
  }

  busyMs(now: number): number {
    return this.#serviceMs + this.#running * this.#age(now) - this.#leasedSum;
  }

  #age(now: number): number {
    return this.#epoch === undefined ? 0 : now - this.#epoch;
  }

  #leave(waitingSince: number, leasedAt: number): void {
    const epoch = this.#epoch as number;
    this.#running--;
    this.#sinceSum -= waitingSince - epoch;
    this.#leasedSum -= leasedAt - epoch;
  }
}
