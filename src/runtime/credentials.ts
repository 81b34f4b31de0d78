/** Credentials never reach a log, an error or a reply. */

/** The URL with its password, and every `password=`-like query value, replaced by `**`. Text that is no URL is returned masked too. */
export function maskUrl(url: string): string {
  return url
    .split(/;(?=[a-z][a-z0-9+.-]*:\/\/)/i)
    .map(maskOne)
    .join(";");
}

function maskOne(url: string): string {
  return url
    .replace(
      /^([a-z][a-z0-9+.-]*:\/\/[^/?#:]*:)([\s\S]*)$/i,
      (_, before: string, rest: string) => before + maskLogin(rest),
    )
    .replace(/([?&](?:password|passphrase|secret|token)=)[^&#;]*/gi, "$1**");
}

/**
 * What stands behind the first colon is a password and goes as far as the last "@" before the query: one that was not escaped may
 * have a "/", a "?", a "#" or an "@" in it. With no "@" there it is a port, or else a password that looks like a query.
 */
function maskLogin(rest: string): string {
  const query = rest.search(/\?[\w.-]+=/);
  let at = (query < 0 ? rest : rest.slice(0, query)).lastIndexOf("@");
  if (at < 0 && !/^\d*(?:[/?#]|$)/.test(rest)) at = rest.lastIndexOf("@");
  return at < 0 ? rest : `**${rest.slice(at)}`;
}
