package tools;

import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import javax.crypto.Cipher;
import javax.crypto.EncryptedPrivateKeyInfo;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;

/**
 * Two authorities and what they sign, with the JDK's keytool in one process: NAME.pem is the certificate, NAME.key
 * its private key, NAME.both the key and the chain; client.locked is the client's key under the password. Run with
 * --add-exports for keytool's package.
 * Usage: tools.Certificates FOLDER PASSWORD
 */
public class Certificates {
    private static final String PASSWORD = "only-in-this-folder";
    private static final String LOCAL = "SAN=ip:127.0.0.1,dns:localhost";

    public static void main(String[] arguments) throws Exception {
        var folder = Path.of(arguments[0]);
        var store = folder.resolve("all.p12").toString();
        authority(store, "ca");
        authority(store, "other-ca");
        signed(store, "server", "ca", "-ext", LOCAL, "-validity", "2");
        signed(store, "elsewhere", "ca", "-ext", "SAN=dns:elsewhere.example", "-validity", "2");
        signed(store, "expired", "ca", "-ext", LOCAL, "-startdate", "-3d", "-validity", "1");
        signed(store, "client", "ca", "-validity", "2");
        signed(store, "stranger", "other-ca", "-validity", "2");
        var keys = KeyStore.getInstance("PKCS12");
        try (var input = new FileInputStream(store)) {
            keys.load(input, PASSWORD.toCharArray());
        }
        for (var names = keys.aliases(); names.hasMoreElements();) {
            var name = names.nextElement();
            var key = pem("PRIVATE KEY", keys.getKey(name, PASSWORD.toCharArray()).getEncoded());
            var chain = new StringBuilder();
            for (Certificate certificate : keys.getCertificateChain(name)) {
                chain.append(pem("CERTIFICATE", certificate.getEncoded()));
            }
            Files.writeString(folder.resolve(name + ".pem"), chain);
            Files.writeString(folder.resolve(name + ".key"), key);
            Files.writeString(folder.resolve(name + ".both"), key + chain);
        }
        var locked = locked(keys.getKey("client", PASSWORD.toCharArray()).getEncoded(), arguments[1]);
        Files.writeString(folder.resolve("client.locked"), pem("ENCRYPTED PRIVATE KEY", locked));
    }

    /** The key under a password (PKCS #8), in an algorithm that JDK 17 can name. */
    private static byte[] locked(byte[] key, String password) throws Exception {
        var algorithm = "PBEWithSHA1AndDESede";
        var secret = SecretKeyFactory.getInstance(algorithm)
            .generateSecret(new PBEKeySpec(password.toCharArray()));
        var cipher = Cipher.getInstance(algorithm);
        cipher.init(Cipher.ENCRYPT_MODE, secret);
        return new EncryptedPrivateKeyInfo(cipher.getParameters(), cipher.doFinal(key)).getEncoded();
    }

    private static void authority(String store, String name) throws Exception {
        keytool(store, name, "-ext", "bc:c", "-validity", "2");
    }

    private static void signed(String store, String name, String by, String... more) throws Exception {
        var all = new ArrayList<>(List.of("-signer", by));
        all.addAll(List.of(more));
        keytool(store, name, all.toArray(String[]::new));
    }

    private static void keytool(String store, String name, String... more) throws Exception {
        var all = new ArrayList<>(List.of("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1",
            "-alias", name, "-dname", "CN=" + name, "-keystore", store, "-storetype", "PKCS12",
            "-storepass", PASSWORD));
        all.addAll(List.of(more));
        var keytool = Class.forName("sun.security.tools.keytool.Main");
        keytool.getMethod("main", String[].class).invoke(null, (Object) all.toArray(String[]::new));
    }

    private static String pem(String kind, byte[] bytes) {
        var text = Base64.getMimeEncoder(64, "\n".getBytes()).encodeToString(bytes);
        return "-----BEGIN " + kind + "-----\n" + text + "\n-----END " + kind + "-----\n";
    }
}
