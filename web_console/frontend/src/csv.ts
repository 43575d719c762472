/** Tables as CSV that a spreadsheet only ever shows: pure. Cells are what others typed, so none may become a formula. */

/** Also what spreadsheets of East Asian settings take for these signs, and blanks before them that some leave out. */
const FORMULA = /^[\s\p{Cc}\p{Cf}]*[=+\-@＝＋－＠|%]|^[\t\r\n]/u;

function cell(value: string): string {
  const text = FORMULA.test(value) ? `'${value}` : value;
  return `"${text.replaceAll('"', '""')}"`;
}

/** With a byte order mark, without which Excel takes Chinese for Latin. */
export function csvOf(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const lines = [head, ...rows].map((row) => row.map((one) => cell(String(one))).join(","));
  return `\ufeff${lines.join("\r\n")}\r\n`;
}
