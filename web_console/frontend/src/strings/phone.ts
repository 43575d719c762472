/** Words of the phone page. */
import { translator } from "../language.ts";

const zh = {
  title: "现场端",
  go_live: "开始直播",
  stop_live: "停止直播",
  starting: "正在接入…",
  interrupted: "直播中断",
  restoring: "正在自动恢复，请保持本页打开",
  you_are_live: "正在直播 {time}",
  viewers: "{n} 人观看",
  nobody_watches: "暂无人观看",
  camera_back: "后置镜头",
  camera_front: "前置镜头",
  camera_flip: "切换镜头",
  mic_on: "话筒 开",
  mic_off: "话筒 关",
  mic_none: "无话筒",
  position_on: "位置 开",
  position_off: "位置 关",
  preview: "本机画面预览",
  preview_none: "开始直播后在此预览",
  preview_audio: "只有声音，没有画面",
  status: "状态",
  chip_link: "链路",
  chip_uplink: "上行",
  chip_battery: "电量",
  chip_gps: "定位",
  chip_queue: "待发",
  chip_screen: "屏幕",
  link_good: "正常",
  link_weak: "带宽受限",
  link_connecting: "连接中",
  link_lost: "中断 {n} 秒",
  battery_unknown: "未知",
  charging: "充电",
  accuracy: "±{n} 米",
  gps_off: "未开",
  gps_wait: "定位中",
  gps_denied: "未授权",
  gps_none: "无信号",
  queue_none: "无",
  queue_n: "{n} 条",
  screen_kept: "常亮",
  screen_free: "会自动熄屏",
  why_no_server: "与服务器的连接中断",
  why_no_capture: "镜头或麦克风被占用，回到本页后自动重开",
  why_opening: "正在打开镜头和话筒",
  why_no_media: "媒体连接正在建立",
  why_waiting: "等待服务器收到画面",
  why_stalled: "服务器收不到画面，多为网络波动",
  ended_by_officer: "值班员结束了本次直播。需要时可再次开始。",
  replaced: "同一链接在另一处开始了直播，本机已停止。",
  problem_live: "直播",
  stop_sure: "再按一次停止",
  // capture
  denied_camera:
    "没有摄像头权限|在浏览器地址栏左侧的图标中，把“摄像头”改为允许，然后再点“开始直播”。现在只发送声音。",
  denied_microphone: "没有麦克风权限|在浏览器地址栏左侧的图标中，把“麦克风”改为允许。现在只发送画面。",
  denied_both:
    "没有摄像头和麦克风权限|点浏览器地址栏左侧的图标，把“摄像头”和“麦克风”改为允许；若没有该选项，请到手机“设置—应用—浏览器—权限”中打开，然后再点“开始直播”。",
  none_camera: "没有找到摄像头|检查摄像头是否被系统禁用，或换一台手机。",
  none_microphone: "没有找到麦克风|现在只发送画面；接上耳机麦克风后可重新开始。",
  busy: "摄像头或麦克风正被其他应用使用|关闭其他使用摄像头的应用（通话、微信视频、相机），再点“开始直播”。",
  failed: "无法打开摄像头|关闭本页后重新打开；仍不行请重启手机。",
  insecure:
    "此地址不是安全连接，浏览器不允许使用摄像头|请用以 https:// 开头的链接打开，或让值班员重新发送二维码。",
  in_app:
    "当前应用内置的浏览器不能使用摄像头|点右上角“···”，选择“在浏览器打开”；或复制下面的链接，粘贴到手机自带浏览器。",
  unsupported: "此浏览器不支持直播|请用新版 Chrome、Edge、Safari 或系统浏览器打开下面的链接。",
  copy_link: "复制链接",
  copied: "已复制",
  // ends
  ended_expired: "链接已过期|请向值班员索取新的二维码或链接。",
  ended_revoked: "链接已被值班员撤销|如仍需上报，请联系值班员重新发放。",
  ended_not_logged_in: "链接无效或登录已失效|请重新扫描值班员提供的二维码，或登录后再试。",
  ended_schema: "服务器已升级|请刷新页面。",
  nobody: "需要邀请链接|请扫描值班员提供的二维码打开本页；有账号的人员可登录。",
  log_in: "登录",
  reload: "刷新页面",
} as const;

export const phoneStrings = zh;
export const t = translator("phone", zh);
export type PhoneKey = keyof typeof zh;

/** "what|what to do" in two. */
export function two(key: PhoneKey): [string, string] {
  const [what = "", next = ""] = t(key).split("|");
  return [what, next];
}
