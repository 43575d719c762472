/** One number out of a few: for how many minutes, for how many hours. */
export function NumberChoice({
  id,
  label,
  value,
  of,
  say,
  change,
}: {
  id: string;
  label: string;
  value: number;
  of: readonly number[];
  say: (one: number) => string;
  change: (value: number) => void;
}) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={String(value)} onChange={(event) => change(Number(event.currentTarget.value))}>
        {of.map((one) => (
          <option key={one} value={String(one)}>
            {say(one)}
          </option>
        ))}
      </select>
    </div>
  );
}
