/** Credentials never reach a log, an error or a reply. */

/** The URL with its password, and every `password=`-like query value, replaced by `**`. Text that is no URL is returned masked too. */
export function maskUrl(url: string): string {
  return url
    .replace(/^([a-z][a-z0-9+.-]*:\/\/[^/?#@]*?):[^/?#]*@/i, "$1:**@")
    .replace(/([?&](?:password|passphrase|secret|token)=)[^&#;]*/gi, "$1**");
}
