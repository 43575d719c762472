/** Words for the rows of /health by their id: name and what their value means; and for each bad state what is wrong and
 * what to do. A row of a newer server is shown in the server's own words. */
import { translator } from "../language.ts";

const zh = {
  media: "媒体进程|已重启 {n} 次",
  media_warning: "媒体进程十分钟内重启过（共 {n} 次）|画面会自动恢复；反复出现请查看日志中的原因",
  media_error: "媒体进程正在重新启动|稍候自动恢复；仍不恢复请查看日志中的原因",
  storage: "数据库|应答 {n} 毫秒",
  storage_warning: "数据库应答缓慢（{n} 毫秒）|检查磁盘负载",
  storage_error: "数据库无应答|检查磁盘与 storage.url；通话与画面不受影响",
  disk: "数据盘|剩余 {n} GB",
  disk_warning: "数据盘空间不足，剩余 {n} GB|清理数据目录所在的磁盘",
  disk_error: "数据盘将满，剩余 {n} GB|立即清理数据目录所在的磁盘，否则无法启动",
  certificate: "TLS 证书|还有 {n} 天到期",
  certificate_warning: "TLS 证书还有 {n} 天到期|更换 tls.certificate 与 tls.key 指定的文件，无需重启",
  certificate_error: "TLS 证书已过期|更换 tls.certificate 与 tls.key 指定的文件，无需重启",
  clock: "系统时钟|",
  clock_warning: "本机时钟从未校准|校准时间或启用 NTP",
  loop: "控制进程|累计卡顿 {n} 次",
  loop_warning: "控制进程刚刚发生卡顿（累计 {n} 次）|机器过于繁忙；日志写明了耗时的环节",
  cameras: "摄像机拉流|{n} 路无画面",
  cameras_warning: "{n} 路摄像机没有画面|在下方视频列表中查看每一路走到哪一步、如何处理",
  clients: "席位与手机|{n} 个在线连接",
  clients_warning:
    "十分钟内有席位或手机因跟不上而被断开|会自动重连；反复出现请检查其网络，并关闭该机多余的页面",
  recordings: "录音盘|剩余 {n} %",
  recordings_warning: "录音盘空间不足，剩余 {n} %|清理录音目录所在的磁盘，或缩短 recordings.keep_days",
  recordings_error:
    "录音盘已满或无法写入（剩余 {n} %）|检查 recordings.folder 所在的磁盘与权限，或缩短 recordings.keep_days；通话不受影响",
  bus: "节点互联（Redis）|已连接",
  bus_error: "Redis 无应答，本机单独运行|检查 Redis 与 bus.url；连接会自动恢复",
} as const;

type Key = keyof typeof zh;

export const healthStrings = zh;
const lookup = translator("health", zh);

interface HealthWords {
  name: string;
  detail: string;
  remedy: string;
}

/** Null: nobody has written words for this row or state yet. */
export function healthWords(
  id: string,
  state: string,
  value: number | null,
  unit: string,
): HealthWords | null {
  if (!(id in zh)) return null;
  const n = value === null ? "–" : unit === "MB" ? (value / 1024).toFixed(1) : String(Math.round(value));
  const [name = "", detail = ""] = lookup(id as Key, { n }).split("|");
  if (state === "ok") return { name, detail, remedy: "" };
  const key = `${id}_${state}`;
  if (!(key in zh)) return null;
  const [wrong = "", remedy = ""] = lookup(key as Key, { n }).split("|");
  return { name, detail: wrong, remedy };
}
