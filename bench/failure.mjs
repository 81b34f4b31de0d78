/** A measurement that says nothing: a contender ended early, lost tasks or left wrong results. */
export class MeasurementFailed extends Error {
  name = "MeasurementFailed";
}
