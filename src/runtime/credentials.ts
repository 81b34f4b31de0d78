/** Credentials never reach a log, an error or a reply. */

/** The URL with its password, and every `password=`-like query value, replaced by `**`. Text that is no URL is returned masked too. */
export function maskUrl(url: string): string {
  return url
    .split(/;(?=[a-z][a-z0-9+.-]*:\/\/)/i)
    .map(maskOne)
    .join(";");
}

/**
 * What stands behind the first colon is a password, unless it is a port, and goes as far as the last "@": one that was not escaped may
 * have a "/", a "?" or an "@" in it.
 */
function maskOne(url: string): string {
  return url
    .replace(/^([a-z][a-z0-9+.-]*:\/\/[^/?#:]*):(?!\d*(?:[/?#]|$))[\s\S]*@/i, "$1:**@")
    .replace(/([?&](?:password|passphrase|secret|token)=)[^&#;]*/gi, "$1**");
}
