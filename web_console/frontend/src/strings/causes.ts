/** Why there is no picture: for each cause code of PROTOCOL.md a few words for a tile, a sentence, and the next step. */
import { translator } from "../language.ts";

const zh = {
  never_connected: "尚未接入|服务器启动以来该设备还没有推送过视频。|在设备上填入服务器地址与令牌后开始推送。",
  never_opened: "等待现场|现场尚未开始直播。|请对方打开链接并点“开始直播”。",
  no_packets:
    "无数据|设备已连接，但没有收到任何媒体数据。|检查设备是否真的在采集；检查防火墙是否放行媒体端口。",
  no_key_frame:
    "等待关键帧|数据已到，但还没有可以起播的关键帧。|通常 1–2 秒内自动恢复；持续出现请缩短设备的关键帧间隔。",
  ice_timeout:
    "网络不通|设备的探测包到不了媒体端口。|检查防火墙是否放行媒体 UDP 端口；公网地址是否已在配置中填写。",
  dtls_failed: "加密握手失败|与设备的加密握手没有完成。|检查设备时间与固件版本，重启设备后再试。",
  consent_lost: "网络中断|设备的网络断开了。|等待设备恢复网络；手机会自动重连。",
  closed: "设备已停止|推送由设备一侧结束。|需要画面时请联系现场重新开始。",
  replaced: "被新连接取代|同一路视频已从另一处推送。|核对是否有两台设备用了同一个令牌。",
  ended_by_officer: "值班员已结束|值班员结束了这路推送。|需要时请现场重新开始。",
  revoked: "凭据已撤销|该设备的凭据已被撤销。|重新发放链接或令牌。",
  expired: "链接已过期|加入链接的有效期已到。|需要时请重新生成链接发给现场。",
  codec: "编码不支持|这路视频的编码本浏览器无法播放。|在设备上改用 VP8 或 H.264，或换用 Chrome、Edge 观看。",
  stalled: "数据中断|超过 1 秒没有收到数据。|多为现场网络波动，恢复后自动续播。",
  not_connected:
    "本机媒体未连接|本席位到媒体服务器的连接尚未建立。|正在自动重连；持续出现请检查本机到服务器媒体端口的网络。",
  bandwidth: "本机带宽不足|本席位的网络带宽不足，已换用较低清晰度。|减少同屏画面，或检查本机网络。",
  overloaded:
    "服务器满载|服务器过于繁忙，先保证通话，暂不发送此画面。|负载下降后自动恢复；可先关闭次要画面。",
  source: "信源无更高清|设备没有发送更高的清晰度。|如需高清，请在设备上提高分辨率。",
  paused: "已暂停|画面不可见，已暂停接收。|切回该画面即恢复。",
  media_restarted: "媒体服务重启|媒体服务刚刚重启，正在重新接入。|数秒后自动恢复。",
  disabled: "未启用拉流|服务器配置中没有启用摄像机拉流。|请管理员在配置 ingest.rtsp 中启用。",
  refused: "拒绝连接|摄像机拒绝了连接。|检查摄像机的地址、端口与 RTSP 服务是否开启。",
  timeout: "连接超时|在限定时间内摄像机没有应答。|检查网络与供电，服务器会继续重试。",
  unauthorized:
    "用户名或密码错误|摄像机拒绝了用户名或密码。|核对摄像机密码后重新录入；重试已放慢以免被锁定。",
  not_found: "无此视频|摄像机上没有这一路视频，或对象已被删除。|核对视频路径。",
  not_admitted: "网段未放行|该地址不在允许的网段内。|请管理员在配置 ingest.rtsp.networks 中放行。",
  b_frames: "含 B 帧|视频含 B 帧，浏览器播放会跳帧。|在设备上关闭 B 帧（改为 Baseline 或关闭“智能编码”）。",
  broken: "数据错误|收到的数据无法解析。|重启设备；仍不行请把诊断信息交给管理员。",
  ended: "已结束|摄像机结束了推送。|服务器会自动重新连接。",
} as const;

type Cause = keyof typeof zh;

export const causeStrings = zh;
const lookup = translator("causes", zh);

/** Words for a cause; an unknown code of a newer server stands for itself. */
export function causeWords(code: string): { brief: string; sentence: string; next: string } {
  if (!(code in zh)) return { brief: code, sentence: code, next: "" };
  const [brief = "", sentence = "", next = ""] = lookup(code as Cause).split("|");
  return { brief, sentence, next };
}
